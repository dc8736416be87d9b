"""The one place that takes secrets out of what is logged, stored or shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, unquote_plus, urlsplit

from proxy.core.http import Headers

REDACTED = "[redacted]"
_REDACTED = REDACTED.encode()

SECRET_NAME = re.compile(
    r"authorization|authentication|cookie|secret|passw|passphrase|credential|session|jwt|bearer"
    r"|(api|access|auth|private|subscription)[-_]?(key|token)$|(^|[-_.])(key|token|auth|signature|sig|pwd)$",
    re.IGNORECASE,
)
"""Of headers, query parameters and fields that are sent."""


@lru_cache(maxsize=1024)  # the same few names come with every request
def is_secret(name: bytes) -> bool:
    """Return whether a header field of this name carries a secret."""
    return SECRET_NAME.search(name.decode("latin-1")) is not None


def secret_fields(headers: Headers) -> Headers:
    """Return the fields whose names say that they carry a secret."""
    return [item for item in headers if is_secret(item[0])]


SECRET_OPTION = re.compile(
    r"(authorization|cookie|secret|passw(or)?d|passphrase|credentials?|(api|access|auth|private|subscription)[-_]?key"
    r"|(^|[-_])(access|auth|bearer|client|security|session)[-_]?token|^token)$",
    re.IGNORECASE,
)
"""Narrower: `start_reasoning_token` and `api_key_name` are options, and no secrets."""


@lru_cache(maxsize=1024)
def is_secret_option(name: str) -> bool:
    """Return whether an option, or a field of a request, of this name carries a secret."""
    return SECRET_OPTION.search(name) is not None


_SCALARS = frozenset({int, float, bool, type(None)})

SENT_MAPS = frozenset({"headers_to_add", "extra_headers", "headers", "params_to_add", "extra_body"})
"""Options whose members are sent to the model server: their names are not the sidecar's own."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_SEPARATORS = re.compile("([&;])")
"""Between the parameters of a query; some servers take both."""
_SHORTEST = 6
"""Characters. Anything shorter is no secret, and replacing it would garble text."""


def without_secrets(query: str, replace: Callable[[str], str], others: Callable[[str], str] | None = None) -> str:
    """Return a query string in which the values of secret parameters are replaced; what stays keeps its every byte.

    Args:
        query: as it stands in a URL.
        replace: takes a secret as it is written there.
        others: the same for every other value.
    """
    parts = _SEPARATORS.split(query)
    for index, part in enumerate(parts):
        name, is_set, value = part.partition("=")
        if is_set:
            is_secret = SECRET_NAME.search(unquote_plus(name))
            parts[index] = name + "=" + (replace(value) if is_secret else value if others is None else others(value))
    return "".join(parts)


@lru_cache(maxsize=1024)
def _are_plain(names: tuple[str, ...]) -> bool:
    """Return whether no option of these names is a secret, or is looked into."""
    return not any(name in SENT_MAPS or is_secret_option(name) for name in names)


class Redactor:
    """Knows the names that secrets go by, and the secrets of this process.

    Args:
        secrets: values that may appear nowhere, whatever they are called (the upstream's key, the client token).
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._secrets = sorted(
            {secret.encode() for secret in secrets if secret and len(secret) >= _SHORTEST}, key=len, reverse=True
        )  # longest first: one may be part of another

    @property
    def knows_secrets(self) -> bool:
        """Whether this process has any."""
        return bool(self._secrets)

    def headers(self, headers: Headers) -> Headers:
        """Return the fields with the values of secret ones replaced."""
        if self._secrets:
            return [(name, _REDACTED if is_secret(name) else self.raw(value)) for name, value in headers]
        return [(item[0], _REDACTED) if is_secret(item[0]) else item for item in headers]

    def raw(self, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
        """Return bytes without this process's secrets, nor those that a request's own `headers` carry."""
        for secret in self._secrets:
            if secret in body:
                body = body.replace(secret, _REDACTED)
        for name, value in headers:
            if is_secret(name):
                secret = value.rpartition(b" ")[2]
                if len(secret) >= _SHORTEST and secret in body:
                    body = body.replace(secret, _REDACTED)
        return body

    def text(self, text: str) -> str:
        """Return a text without this process's secrets."""
        if not self._secrets:
            return text
        return self.raw(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def query(self, query: str) -> str:
        """Return a query string with secret parameters, and every known secret, replaced; else it is unchanged."""
        return self.text(without_secrets(query, lambda value: REDACTED, self._quoted))

    def _quoted(self, value: str) -> str:
        """Return a parameter's value, written anew where it holds a known secret."""
        read = unquote_plus(value)
        shown = self.text(read)
        return value if shown == read else quote_plus(shown, safe="[]")

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
        if isinstance(value, str):
            return self.text(_URL.sub(lambda found: self.url(found[0]), value) if "://" in value else value)
        if isinstance(value, dict):
            return {name: self._option(name, item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.document(item) for item in value]
        return value

    def harmless(self, fields: Mapping[str, Any]) -> bool:
        """Return True only where `document` would return the same, which this tells several times as fast."""
        if not _are_plain(tuple(fields)):
            return False
        texts = []
        for value in fields.values():
            if type(value) is str:
                texts.append(value)
            elif type(value) not in _SCALARS:
                return False
        text = "\n".join(texts)
        return "://" not in text and self.text(text) == text

    def _option(self, name: Any, value: Any) -> Any:
        if name in SENT_MAPS:
            return self._sent(value)
        if value and not isinstance(value, (bool, dict)) and is_secret_option(str(name)):
            return REDACTED
        return self.document(value)

    def _sent(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: REDACTED if item is not None and SECRET_NAME.search(str(name)) else self._sent(item)
                for name, item in value.items()
            }
        return [self._sent(item) for item in value] if isinstance(value, list | tuple) else self.document(value)
