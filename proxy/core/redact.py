"""The one place that takes secrets out of what is logged, stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from proxy.core.http import Headers

REDACTED = "[redacted]"

SECRET_NAME = re.compile(
    r"authorization|authentication|cookie|secret|passw|passphrase|credential|session|jwt|bearer"
    r"|(api|access|auth|private|subscription)[-_]?(key|token)$|(^|[-_.])(key|token|auth|signature|sig|pwd)$",
    re.IGNORECASE,
)
"""Of headers, query parameters and fields that are sent."""
SECRET_OPTION = re.compile(
    r"(authorization|cookie|secret|passw(or)?d|passphrase|credentials?|(api|access|auth|private|subscription)[-_]?key"
    r"|(^|[-_])(access|auth|bearer|client|security|session)[-_]?token|^token)$",
    re.IGNORECASE,
)
"""Narrower: `start_reasoning_token` and `api_key_name` are options, and no secrets."""
SENT_MAPS = frozenset({"headers_to_add", "extra_headers", "headers", "params_to_add", "extra_body"})
"""Options whose members are sent to the model server: their names are not the sidecar's own."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_SHORTEST = 6
"""Characters. Anything shorter is no secret, and replacing it would garble text."""


class Redactor:
    """Knows the names that secrets go by, and the secrets of this process.

    Args:
        secrets: values that may appear nowhere, whatever they are called (the upstream's key, the client token).
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._secrets = sorted(
            {secret.encode() for secret in secrets if secret and len(secret) >= _SHORTEST}, key=len, reverse=True
        )  # longest first: one may be part of another

    def headers(self, headers: Headers) -> Headers:
        """Return the fields with the values of secret ones replaced."""
        return [
            (name, REDACTED.encode() if SECRET_NAME.search(name.decode("latin-1")) else self.raw(value))
            for name, value in headers
        ]

    def raw(self, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return bytes without this process's secrets, nor those that a request's own `headers` carry."""
        for secret in self._secrets:
            if secret in body:
                body = body.replace(secret, REDACTED.encode())
        for name, value in headers:
            if SECRET_NAME.search(name.decode("latin-1")):
                secret = value.rpartition(b" ")[2]
                if len(secret) >= _SHORTEST and secret in body:
                    body = body.replace(secret, REDACTED.encode())
        return body

    def text(self, text: str) -> str:
        """Return a text without this process's secrets."""
        return self.raw(text.encode("utf-8", "replace")).decode("utf-8", "replace") if self._secrets else text

    def query(self, query: str) -> str:
        """Return a query string with secret parameters, and every known secret, replaced; else it is unchanged."""
        pairs = parse_qsl(query, keep_blank_values=True)
        shown = [(name, REDACTED if SECRET_NAME.search(name) else self.text(value)) for name, value in pairs]
        return self.text(query if shown == pairs else urlencode(shown, safe="[]"))

    def url(self, url: str) -> str:
        """Return a URL with its user, its secret parameters and every known secret replaced; else it is unchanged."""
        try:
            parts = urlsplit(url)
        except ValueError:  # what should be its host is none
            return self.text(url)
        _, at, host = parts.netloc.rpartition("@")
        shown = parts._replace(netloc=f"{REDACTED}@{host}" if at else host, query=self.query(parts.query))
        return self.text(url if shown == parts else shown.geturl())

    def document(self, value: Any) -> Any:
        """Return a copy of a configuration with secret headers, options, parts of URLs and known secrets replaced."""
        if isinstance(value, dict):
            return {name: self._option(name, item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        if isinstance(value, str):
            return self.url(value) if _URL.fullmatch(value) else self.text(value)
        return value

    def _option(self, name: Any, value: Any) -> Any:
        if name in SENT_MAPS:
            return self._sent(value)
        if value and not isinstance(value, bool | dict) and SECRET_OPTION.search(str(name)):
            return REDACTED
        return self.document(value)

    def _sent(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: REDACTED if item is not None and SECRET_NAME.search(str(name)) else self._sent(item)
                for name, item in value.items()
            }
        return [self._sent(item) for item in value] if isinstance(value, list | tuple) else self.document(value)
