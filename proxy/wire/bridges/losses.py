"""What of a request the other route has no place for."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from proxy.core.errors import NotCarried

_NOTHING: Final[tuple[Any, ...]] = (None, False, "", [], {})


class Converted(NamedTuple):
    """A request in the form of the other route."""

    body: dict[str, Any]
    left_out: list[str]
    """Fields that are not in it. They do not change what is answered."""


class Losses:
    """Collects what is lost while one request is converted, so that one error can name all of it.

    Args:
        bridge: the interceptor's name, for the error.
        way_out: what to do about a field that cannot be carried over.
        strict: whether nothing may be left out.
    """

    def __init__(self, bridge: str, way_out: str, *, strict: bool = False) -> None:
        self._bridge = bridge
        self._way_out = way_out
        self._strict = strict
        self._left_out: list[str] = []
        self._refused: list[str] = []

    def leave(self, field: str, value: Any) -> None:
        """Leave a field out that does not change the answer; one that says nothing is no loss."""
        if says_something(value) and field not in self._left_out:
            self._left_out.append(field)

    def refuse(self, field: str, reason: str = "") -> None:
        """Note a field without which the answer would be another."""
        self._refused.append(f"{field} ({reason})" if reason else field)

    def converted(self, body: dict[str, Any]) -> Converted:
        """Return the request that came of it.

        Raises:
            NotCarried: a field was refused, or left out and `strict` forbids it.
        """
        if self._refused:
            raise NotCarried(
                f"interceptor '{self._bridge}' cannot carry over {_listed(self._refused)}; {self._way_out}"
            )
        if self._strict and self._left_out:
            raise NotCarried(
                f"interceptor '{self._bridge}' would leave out {_listed(self._left_out)}, and strict is set; send the"
                f" request without, or allow it with 'strict: false' among the options of '{self._bridge}'"
            )
        return Converted(body, self._left_out)


def says_something(value: Any) -> bool:
    """Return whether a field with this value asks for anything: null, false and what is empty do not."""
    return not any(value is nothing or (type(value) is type(nothing) and value == nothing) for nothing in _NOTHING)


def _listed(fields: list[str]) -> str:
    return ", ".join(dict.fromkeys(fields))
