"""Answers with the fields that the server sent, read like those of the OpenAI SDK."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class SidecarFacts:
    """What the sidecar says of an answer, in its headers; None where it says nothing."""

    id: str | None = None
    run: str | None = None
    cache: str | None = None
    cache_key: str | None = None
    sample: int | None = None
    changes: str | None = None

    @classmethod
    def of(cls, headers: httpx.Headers) -> "SidecarFacts":
        """Those of a response."""
        sample = headers.get("x-evalside-sample")
        return cls(
            id=headers.get("x-evalside-id"),
            run=headers.get("x-evalside-run"),
            cache=headers.get("x-evalside-cache"),
            cache_key=headers.get("x-evalside-cache-key"),
            sample=int(sample) if sample is not None else None,
            changes=headers.get("x-evalside-changes"),
        )


class Fields:
    """A JSON object: `answer.choices[0].message.content`, or `answer["choices"]`. `evalside` is the sidecar's facts."""

    def __init__(self, document: Mapping[str, Any], facts: SidecarFacts | None = None) -> None:
        self._document = document
        self.evalside = facts or SidecarFacts()

    def __getattr__(self, name: str) -> Any:
        try:
            return _view(self._document[name])
        except KeyError:
            raise AttributeError(f"the answer has no field {name!r}; it has: {', '.join(self._document)}") from None

    def __getitem__(self, name: str) -> Any:
        return _view(self._document[name])

    def __contains__(self, name: str) -> bool:
        return name in self._document

    def __iter__(self) -> Iterator[str]:
        return iter(self._document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Fields({dict(self._document)!r})"

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or `default` where the server sent none."""
        return _view(self._document.get(name, default))

    def model_dump(self) -> dict[str, Any]:
        """The object as plain dictionaries and lists."""
        return dict(self._document)


def _view(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Fields(value)
    return [_view(item) for item in value] if isinstance(value, list) else value
