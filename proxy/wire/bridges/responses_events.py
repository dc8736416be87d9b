"""A chat's stream as the events of a response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from proxy.core.document import encode
from proxy.wire.bridges.responses_answer import Answer, Asked
from proxy.wire.bridges.responses_output import Event


class ResponseEvents:
    """The translator of one stream. Every event is told as soon as its chunk is there."""

    def __init__(self, asked: Asked) -> None:
        self._answer = Answer(asked)

    @property
    def lost(self) -> list[str]:
        """Fields of chunks that a response has no place for."""
        return self._answer.lost

    def event(self, document: dict[str, Any]) -> bytes:
        """Return the events that one chunk makes; behind the end there are none."""
        if self._answer.ended:
            return b""
        if document.get("error") is not None:
            return _written(self._answer.fail(document["error"]))
        return _written(self._answer.take(document))

    def end(self, done: bytes) -> bytes:
        """Return the events at the end; a response's stream has no `[DONE]`."""
        return _written(self._answer.end())


def _written(events: Iterable[Event]) -> bytes:
    return b"".join(b"event: " + event["type"].encode() + b"\ndata: " + encode(event) + b"\n\n" for event in events)
