"""The one place that takes secrets out of what is logged, stored or shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from proxy.core.http import Headers

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"authorization|authentication|cookie|secret|passw|passphrase|credential|session|jwt|bearer"
    r"|(^|[-_.])(api[-_]?key|key|token|auth|signature|sig)$",
    re.IGNORECASE,
)
_SECRET_OPTION = re.compile(
    r"(authorization|secret|password|passphrase|(^|[-_])(api[-_]?key|(access|auth|bearer)[-_]?token))$", re.IGNORECASE
)
"""Narrower: `start_reasoning_token` and `api_key_name` are options, and no secrets."""
_SENT_MAPS = frozenset({"headers_to_add", "extra_headers", "headers", "params_to_add", "extra_body"})
"""Options whose members are sent to the model server: their names are not the sidecar's own."""
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
            (name, REDACTED.encode() if _SECRET_NAME.search(name.decode("latin-1")) else self.raw(value))
            for name, value in headers
        ]

    def raw(self, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return bytes without this process's secrets, nor those that a request's own `headers` carry."""
        for secret in self._secrets:
            if secret in body:
                body = body.replace(secret, REDACTED.encode())
        for name, value in headers:
            if _SECRET_NAME.search(name.decode("latin-1")):
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
        shown = [(name, REDACTED if _SECRET_NAME.search(name) else self.text(value)) for name, value in pairs]
        return self.text(query if shown == pairs else urlencode(shown, safe="[]"))

    def document(self, value: Any) -> Any:
        """Return a copy of a configuration with secret headers, secret options and every known secret replaced."""
        if isinstance(value, dict):
            return {name: self._option(name, item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def _option(self, name: str, value: Any) -> Any:
        if name in _SENT_MAPS:
            return self._sent(value)
        return REDACTED if value and isinstance(value, str) and _SECRET_OPTION.search(name) else self.document(value)

    def _sent(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: REDACTED if item is not None and _SECRET_NAME.search(str(name)) else self._sent(item)
                for name, item in value.items()
            }
        return [self._sent(item) for item in value] if isinstance(value, list | tuple) else self.document(value)
