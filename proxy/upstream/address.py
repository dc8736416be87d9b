"""Where the model server is: an origin, its /v1, or one of its endpoints all mean the same server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.core.nearest import did_you_mean

_ENDPOINTS = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/rerank",
    "/score",
    "/models",
)


@dataclass(frozen=True, slots=True)
class Address:
    """The upstream's origin and the path prefixes that a client's paths are put behind."""

    origin: str
    """Scheme, host and port, without a trailing slash."""
    root: bytes
    """Prefix of everything outside /v1 (`/health`, `/tokenize`)."""
    api: bytes
    """What stands in place of a client's `/v1`."""

    @property
    def url(self) -> str:
        """The address in one canonical form; it is the identity of an upstream without a namespace."""
        return self.origin + self.api.decode()

    @property
    def host(self) -> str:
        """Host and port as the Host header has them."""
        return self.origin.partition("://")[2]

    def locate(self, path: bytes) -> bytes:
        """Return the path on the upstream for a client's path; `/v1` is never doubled."""
        if path == b"/v1" or path.startswith(b"/v1/"):
            return self.api + path[3:]
        return self.root + path


def parse_address(url: str) -> Address:
    """Return the address that `url` means.

    Raises:
        ValueError: not an http(s) URL, no endpoint behind its /v1, or it carries credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"upstream.url '{url}' is not a URL: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "upstream.url holds credentials; put the key in a variable and name it in upstream.api_key_name"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"upstream.url '{url}' is not an http(s) URL; write it like http://localhost:8080/v1")
    if parts.query or parts.fragment:
        raise ValueError(f"upstream.url '{url}' has a query or fragment; clients' own query strings are passed through")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    path = parts.path.rstrip("/")
    endpoint = next((suffix for suffix in _ENDPOINTS if path.endswith(suffix)), "")
    path = path.removesuffix(endpoint)
    if path.endswith("/v1"):
        root, api = path.removesuffix("/v1"), path
    elif endpoint and path:
        root = api = path
    elif "/v1/" in path:
        given = "/" + path.rpartition("/v1/")[2]
        raise ValueError(
            f"upstream.url '{url}': there is no endpoint '{given}'{did_you_mean(given, _ENDPOINTS)}"
            " (an address ends with its /v1, or with an endpoint)"
        )
    else:
        root, api = path, path + "/v1"
    return Address(origin, root.encode(), api.encode())
