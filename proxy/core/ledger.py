"""The ledger: what interceptors changed in a request and in its answer, entry by entry.

Nobody has to remember to write it: the pipeline compares what goes into every transform with what comes out of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple

from proxy.core.difference import ABSENT, Difference, without_indexes
from proxy.core.errors import ChangeRefused
from proxy.core.stream import CONFIGURED, ByteStream

if TYPE_CHECKING:
    from proxy.core.http import Headers, Payload, Request, Response

Side = Literal["request", "answer"]
Part = Literal["body", "header", "line"]


class Change(NamedTuple):
    """One entry."""

    interceptor: str
    on: Side
    part: Part
    """`line` is the request's method, path or query, or the answer's status."""
    what: Difference
    """Of a body that was replaced as a whole, the path is empty and both sides are hashes."""
    why: str = CONFIGURED
    times: int = 1
    """How many events of a stream it happened to, before and after are those of the first; or how many of the requests
    that the client's became."""

    @property
    def field(self) -> str:
        """What changed, as text: `messages[0].content`, `header:x-title`, `path`, or `(body)` for all of it."""
        if self.part == "header":
            return f"header:{self.what.path[0]}"
        return self.what.field or "(body)"


class Ledger:
    """The changes to one exchange, in the order in which they were made."""

    __slots__ = ("_answer", "_inherited", "_made", "_reasons", "_request", "_streams")

    def __init__(self, request: Request) -> None:
        self._made: list[Change] = []
        self._request = _request_state(request)
        self._answer: _State | None = None
        self._streams: list[ByteStream] = []
        self._reasons: dict[str, str] = {}
        self._inherited = 0

    @property
    def changes(self) -> list[Change]:
        """All entries; those of a stream are complete when it has ended."""
        if not self._streams:
            return list(self._made)
        return self._made + [
            Change(mapped.name, "answer", "body", change.what, change.why, change.times)
            for stream in self._streams
            for mapped in stream.maps
            for change in mapped.changes
        ]

    def branch(self, request: Request) -> Ledger:
        """Return a ledger with the same entries that goes on with a copy of the request."""
        other = Ledger(request)
        other._made = list(self._made)
        other._inherited = len(self._made)
        return other

    def join(self, other: Ledger) -> None:
        """Enter what was changed since the branching in another request that the client's became."""
        own = [change[:5] for change in self._made]
        for change in other._made[other._inherited :]:
            if change.on == "request":
                if change[:5] in own:
                    place = own.index(change[:5])
                    self._made[place] = self._made[place]._replace(times=self._made[place].times + change.times)
                else:
                    own.append(change[:5])
                    self._made.append(change)

    def explain(self, field: str, why: str) -> None:
        """Give the reason for what the calling interceptor does to this field, `messages[].name` for all of a list."""
        self._reasons[field] = why

    def note_request(self, interceptor: str, request: Request, *, strict: bool = False) -> None:
        """Enter what differs from what the interceptor was given.

        Raises:
            ChangeRefused: something does, and `strict` forbids it.
        """
        before = self._request
        line, headers = (request.method, request.path, request.query), request.headers
        if line != before.line or headers != before.headers or request.body is not before.body or request.body.touched:
            now = self._request = _State(line, list(headers), request.body)
            self._enter(interceptor, "request", _changes(("method", "path", "query"), before, now), strict=strict)
        self._reasons.clear()

    def begin_answer(self, response: Response) -> None:
        """Note the answer that the innermost transform is given."""
        self._answer = _answer_state(response)

    def note_answer(self, interceptor: str, response: Response, *, strict: bool = False) -> None:
        """Enter what differs from the answer that the interceptor was given. What it does to a stream comes later.

        Raises:
            ChangeRefused: something does, and `strict` forbids it.
        """
        before, body = self._answer, response.body
        if isinstance(body, ByteStream):
            if body not in self._streams:
                self._streams.append(body)
            if strict:
                body.forbid_changes(interceptor)
        # Without a `before` the interceptor answered by itself: it changed nobody's answer.
        if before is None:
            self._answer = _answer_state(response)
        elif _differs(before, response):
            now = self._answer = _answer_state(response)
            self._enter(interceptor, "answer", _changes(("status",), before, now), strict=strict)
        self._reasons.clear()

    def _enter(self, interceptor: str, on: Side, found: list[tuple[Part, Difference]], *, strict: bool) -> None:
        changes = [Change(interceptor, on, part, what) for part, what in found]
        if strict and changes:
            raise ChangeRefused.of(interceptor, on, [change.field for change in changes])
        self._made += [self._explained(change) for change in changes]

    def _explained(self, change: Change) -> Change:
        why = self._reasons.get(without_indexes(change.field))
        return change if why is None else change._replace(why=why)


class _State(NamedTuple):
    """A message as it stood between two interceptors."""

    line: tuple[str | bytes | int, ...]
    headers: Headers
    body: Payload | ByteStream


def _request_state(request: Request) -> _State:
    return _State((request.method, request.path, request.query), list(request.headers), request.body)


def _differs(before: _State, response: Response) -> bool:
    body = response.body
    if body is not before.body or response.headers != before.headers or (response.status,) != before.line:
        return True
    return not isinstance(body, ByteStream) and body.touched


def _answer_state(response: Response) -> _State:
    return _State((response.status,), list(response.headers), response.body)


def _changes(names: tuple[str, ...], before: _State, now: _State) -> list[tuple[Part, Difference]]:
    found: list[tuple[Part, Difference]] = [
        ("line", Difference((name,), _shown(old), _shown(new)))
        for name, old, new in zip(names, before.line, now.line, strict=True)
        if old != new
    ]
    found += [("header", what) for what in _header_changes(before.headers, now.headers)]
    found += [("body", what) for what in _body_changes(before.body, now.body)]
    return found


def _shown(value: str | bytes | int) -> str | int:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _header_changes(before: Headers, now: Headers) -> list[Difference]:
    """Return one difference for each name; several values of one name are joined by a comma and a space."""
    old, new = _by_name(before), _by_name(now)
    return [
        Difference((name,), old.get(name, ABSENT), new.get(name, ABSENT))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _by_name(headers: Headers) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        named[key] = f"{named[key]}, {text}" if key in named else text
    return named


def _body_changes(before: Payload | ByteStream, now: Payload | ByteStream) -> list[Difference]:
    if isinstance(now, ByteStream):
        if now is before or now.origin is before:  # what its transforms do comes later
            return []
    else:
        edited = now.differences()
        if now is before:
            return edited
    old, new = _digest(before), _digest(now)
    return [Difference((), old, new)] if old != new else []


def _digest(body: Payload | ByteStream) -> str:
    return "a stream" if isinstance(body, ByteStream) else "sha256:" + hashlib.sha256(body.raw).hexdigest()
