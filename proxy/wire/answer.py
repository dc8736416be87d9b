"""A whole answer, taken apart once for all who look into it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import orjson

from proxy.wire import choices, skim, sse
from proxy.wire.fold_choices import Form


class Answer:
    """The decoded body of an answer, a document or an event stream. It is parsed when it is first looked at."""

    def __init__(self, body: bytes, *, streamed: bool) -> None:
        self.body = body
        self.streamed = streamed
        self._told: tuple[Form, choices.Told] | None = None

    @cached_property
    def stream(self) -> sse.Body:
        """The events of a stream."""
        return sse.split(self.body)

    @cached_property
    def _only_data(self) -> list[bytes] | None:
        return sse.only_data(self.body)

    @property
    def data(self) -> list[bytes]:
        """The data of each event of a stream."""
        return [event.data for event in self.stream.events] if self._only_data is None else self._only_data

    @property
    def is_broken(self) -> bool:
        """Whether a stream ended inside an event, or has one named `error`."""
        if self._only_data is not None:
            return False
        events, cut = self.stream
        return cut or any(event.name == "error" for event in events)

    def told(self, form: Form) -> choices.Told:
        """Return what it says of its choices on the route that has this form; the `[DONE]` of a stream says nothing."""
        if self._told is None or self._told[0] is not form:
            data = self.data if self.streamed else [self.body]
            if self.streamed and data and data[-1] == sse.DONE:
                data = data[:-1]
            self._told = form, choices.told(map(skim.document, data), form, streamed=self.streamed)
        return self._told[1]

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
