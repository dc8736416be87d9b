"""Who may ask: the client token, the address a request came in on, the Host of admin routes, the Origin of browsers."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from proxy.core.errors import BindNotAllowed, ForeignHost, ForeignOrigin, Unauthorized
from proxy.core.http import Headers, get_header
from proxy.edge.messages import Scope

TOKEN_HEADER = b"x-evalside-token"


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Return whether a host name or address can only mean this machine."""
    host = host.strip("[]").lower()
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # a socket that listens on both families says ::ffff:127.0.0.1
    return (mapped or address).is_loopback


class Gate:
    """Admits requests, or raises the 401 or 403 that says why not."""

    def __init__(self, token: str | None, *, anonymous: bool, allowed_hosts: Collection[str]) -> None:
        self._token = token.encode() if token else None
        self._open = anonymous or token is not None
        self._hosts = frozenset(host.lower() for host in allowed_hosts)

    def admit(self, scope: Scope, headers: Headers, *, admin: bool, needs_token: bool = True) -> None:
        """Check one request.

        Args:
            scope: its ASGI scope.
            headers: its fields, names in lower case.
            admin: whether it is for a `/-/` route, which has to be called by a known Host.
            needs_token: False for the two routes that are open to health checks.

        Raises:
            BindNotAllowed, ForeignHost, ForeignOrigin, Unauthorized: it is not admitted.
        """
        if not self._open:
            self._check_address(scope)
        if admin:
            self._check_host(get_header(headers, b"host"))
        origin = get_header(headers, b"origin")
        if origin is not None:
            self._check_origin(origin)
        if needs_token and self._token is not None and not self._carries_token(headers):
            raise Unauthorized(
                "this sidecar needs its client token, as 'Authorization: Bearer' or 'x-evalside-token'"
                " (auth.token_name says which variable holds it)"
            )

    def without_token(self, headers: Headers) -> Headers:
        """Return the fields without those that hold our token: it is never sent upstream."""
        if self._token is None:
            return headers
        return [item for item in headers if not (self._is_token(item[1]) or self._is_token(_bearer(item[1])))]

    def _carries_token(self, headers: Headers) -> bool:
        return any(
            self._is_token(_bearer(value) if name == b"authorization" else value)
            for name, value in headers
            if name in {TOKEN_HEADER, b"authorization"}
        )

    def _is_token(self, given: bytes) -> bool:
        return self._token is not None and hmac.compare_digest(given, self._token)

    def _check_address(self, scope: Scope) -> None:
        server = scope.get("server")
        if server and server[1] is not None and not is_loopback(server[0]):
            raise BindNotAllowed(
                f"this sidecar is reached on {server[0]}, beyond loopback, and has no client token;"
                " set auth.token_name (EVALSIDE_AUTH__TOKEN_NAME) or, knowingly, auth.anonymous: true"
            )

    def _check_host(self, value: bytes | None) -> None:
        host = _hostname((value or b"").decode("latin-1"))
        if not self._known(host):
            raise ForeignHost(f"Host '{host}' is not allowed on /-/ routes; add it to allowed_hosts, or use localhost")

    def _check_origin(self, value: bytes) -> None:
        origin = value.decode("latin-1")
        host = _origin_host(origin)
        if host is None or not self._known(host):
            raise ForeignOrigin(f"Origin '{origin}' is not allowed; add its host to allowed_hosts")

    def _known(self, host: str) -> bool:
        return is_loopback(host) or host.lower() in self._hosts


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _origin_host(origin: str) -> str | None:
    """Return the host of an Origin field, None for `null` and whatever else names none."""
    try:
        return urlsplit(origin).hostname if "://" in origin else None
    except ValueError:
        return None


def _hostname(host: str) -> str:
    """Return a Host field without its port; an IPv6 literal keeps its colons."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
