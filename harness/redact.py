"""The one place that takes secrets out of what the harness writes, logs and prints.

The rule is the sidecar's, proxy.core.redact, which this package does not import. A test holds the two together.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel

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
"""Options whose members are sent to the model server."""
_ENVIRONMENTS = frozenset({"env"})
"""Options whose members are variables of a process."""
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_NAMES_VARIABLE = re.compile(r"(^|_)(api_key|api_key_name|token_name)$")
_SHORTEST = 6


class Redactor:
    """Knows the names that secrets go by, and the secrets of a run by value: those may appear nowhere.

    A value of less than 6 characters is taken for no secret: replacing it would garble text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)

    @classmethod
    def of(cls, *configurations: BaseModel) -> "Redactor":
        """One that knows the values of the variables that configurations name (`api_key_name`, at any depth)."""
        names = named_variables([configuration.model_dump() for configuration in configurations])
        return cls(os.environ.get(name, "") for name in names)

    def also(self, *secrets: str) -> "Redactor":
        """One that knows these secrets, too."""
        return Redactor([*self._secrets, *secrets])

    def text(self, text: str) -> str:
        """The text without the secrets known by value."""
        for secret in self._secrets:  # the longest first: one may be part of another
            text = text.replace(secret, REDACTED)
        return text

    def url(self, url: str) -> str:
        """The URL with its user, its secret parameters and every known secret replaced; else it is unchanged."""
        try:
            parts = urlsplit(url)
        except ValueError:  # what should be its host is none
            return self.text(url)
        _, at, host = parts.netloc.rpartition("@")
        shown = parts._replace(netloc=f"{REDACTED}@{host}" if at else host, query=self._query(parts.query))
        return self.text(url if shown == parts else shown.geturl())

    def strings(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The same fields, their texts without the secrets known by value: what is no configuration."""
        return {name: self.text(value) if isinstance(value, str) else value for name, value in fields.items()}

    def document(self, value: Any) -> Any:
        """A copy of a configuration with secret headers, options, parts of URLs and known secrets replaced."""
        if isinstance(value, Mapping):
            return {name: self._option(name, item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        if isinstance(value, str):
            return self.text(_URL.sub(lambda found: self.url(found[0]), value) if "://" in value else value)
        return value

    def _query(self, query: str) -> str:
        pairs = parse_qsl(query, keep_blank_values=True)
        shown = [(name, REDACTED if SECRET_NAME.search(name) else self.text(value)) for name, value in pairs]
        return query if shown == pairs else urlencode(shown, safe="[]")

    def _option(self, name: Any, value: Any) -> Any:
        if name in SENT_MAPS or name in _ENVIRONMENTS:
            return self._sent(value)
        if value and not isinstance(value, bool | Mapping) and SECRET_OPTION.search(str(name)):
            return REDACTED
        return self.document(value)

    def _sent(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                name: REDACTED if item is not None and SECRET_NAME.search(str(name)) else self._sent(item)
                for name, item in value.items()
            }
        return [self._sent(item) for item in value] if isinstance(value, list | tuple) else self.document(value)


def named_variables(value: Any) -> Iterator[str]:
    """The environment variables that a configuration names as holders of keys and tokens."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if isinstance(item, str) and _NAMES_VARIABLE.search(str(name)):
                yield item
            else:
                yield from named_variables(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from named_variables(item)
