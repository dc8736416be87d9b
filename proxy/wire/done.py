"""The `data: [DONE]` that a server forgets."""

from __future__ import annotations

import orjson

from proxy.core.difference import ABSENT, Difference
from proxy.core.stream import StreamChange
from proxy.wire import sse

_EVENT = b"data: " + sse.DONE + b"\n\n"


def with_done(body: bytes) -> bytes:
    """Return a whole stream with `[DONE]` at its end, where it was not cut: for rules that look for it."""
    events, cut = sse.split(body)
    return body if cut or (events and events[-1].data == sse.DONE) else body + _EVENT


class AddDone:
    """A transform that ends a stream of choices with `[DONE]`, if every choice finished and none is there.

    A stream that was cut, or ends in an error, is left without.
    """

    def __init__(self, why: str) -> None:
        self._why = why
        self._parser = sse.Parser()
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._settled = False
        self.changes: list[StreamChange] = []

    def feed(self, chunk: bytes) -> bytes:
        """Pass the chunk on as it is."""
        for event in self._parser.feed(chunk):
            self._read(event)
        return chunk

    def end(self) -> bytes:
        """Return the event that is missing."""
        if self._settled or self._open or not self._finished or self._parser.pending:
            return b""
        self.changes.append(StreamChange(Difference(("event",), ABSENT, sse.DONE.decode()), self._why))
        return _EVENT

    def _read(self, event: sse.Event) -> None:
        try:
            document = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            document = None  # `[DONE]`, or what nobody can read
        if not isinstance(document, dict) or document.get("error") is not None:
            self._settled = True
            return
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            self._note(choice)

    def _note(self, choice: object) -> None:
        match choice:
            case {"index": int(index), "finish_reason": str()}:
                self._open.discard(index)
                self._finished.add(index)
            case {"index": int(index)} if index not in self._finished:
                self._open.add(index)
