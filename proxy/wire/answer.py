"""A whole answer, taken apart once for all who look into it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import orjson

from proxy.wire import sse


class Answer:
    """The decoded body of an answer, a document or an event stream. It is parsed when it is first looked at."""

    def __init__(self, body: bytes, *, streamed: bool) -> None:
        self.body = body
        self.streamed = streamed

    @cached_property
    def stream(self) -> sse.Body:
        """The events of a stream."""
        return sse.split(self.body)

    @cached_property
    def parsed(self) -> list[Any]:
        """The document, or that of each event, `[DONE]` included; None for what is no JSON."""
        return [_parsed(event.data) for event in self.stream.events] if self.streamed else [_parsed(self.body)]

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Those that are JSON objects."""
        return [document for document in self.parsed if type(document) is dict]


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


class Shared:
    """Where those who look into the answer of one exchange find it as another has taken it apart."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: Answer | None = None

    def answer(self, body: bytes, *, streamed: bool) -> Answer:
        """Return the answer with this body."""
        last = self._last
        if last is None or last.streamed != streamed or last.body != body:
            last = self._last = Answer(body, streamed=streamed)
        return last
