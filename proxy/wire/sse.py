"""Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html defines them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from proxy.core.errors import ProxyError
from proxy.core.http import Headers, get_header
from proxy.wire import routes

_LINE_END = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"
"""May stand at the beginning of a stream, and means nothing."""

_FIELD = b"data: "
_FIELDS = (b"", b"data", b"event", b"id", b"retry")
"""What a line can begin with, up to its colon; nothing is a comment."""

DONE = b"[DONE]"
"""The data of the event that ends an OpenAI stream."""


def is_event_stream(headers: Headers) -> bool:
    """Return whether the fields of an answer say that its body is an event stream."""
    return _are_events(get_header(headers, b"content-type") or b"")


@lru_cache(maxsize=256)
def _are_events(content_type: bytes) -> bool:
    return content_type.lower().lstrip().startswith(b"text/event-stream")


def begins_as_events(body: bytes) -> bool | None:
    """Return whether a body is an event stream by its beginning, whatever its headers say; None if that is too short.

    No JSON document begins like one.
    """
    field, colon, _ = body.removeprefix(BOM).lstrip(b"\r\n").partition(b":")
    if colon:
        return field in _FIELDS
    return None if BOM.startswith(body) or any(name.startswith(field) for name in _FIELDS) else False


class Event(NamedTuple):
    """One dispatched event."""

    name: str
    """The event's type; empty where the stream names none."""
    data: bytes
    """The data lines joined by a newline."""


class Parser:
    """Splits a byte stream into events, whatever the chunk boundaries. Lines end at CR, LF or CRLF and nowhere else."""

    __slots__ = ("_after_cr", "_data", "_name", "_pending", "_started")

    def __init__(self) -> None:
        self._pending = b""
        self._name = ""
        self._data: list[bytes] = []
        self._started = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes."""
        if not chunk:
            return []
        if self._after_cr:  # the line has ended already; this would be the second half of its CRLF
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        text = self._pending + chunk
        if not self._started:
            if len(text) < len(BOM) and BOM.startswith(text):
                self._pending = text
                return []
            self._started = True
            text = text.removeprefix(BOM)
        lines = _LINE_END.split(text)
        self._pending = lines.pop()
        events = []
        for line in lines:
            event = self._line(line)
            if event is not None:
                events.append(event)
        return events

    @property
    def pending(self) -> bool:
        """Whether an event has begun that no blank line has ended: a stream that closes now was cut."""
        return bool(self._pending or self._data)

    def _line(self, line: bytes) -> Event | None:
        if not line:
            name, data, self._name, self._data = self._name, self._data, "", []
            return Event(name, b"\n".join(data)) if data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None


class Body(NamedTuple):
    """A whole stream, split."""

    events: list[Event]
    cut: bool
    """Whether it ended inside an event."""


def only_data(body: bytes) -> list[bytes] | None:
    """Return the data of each event of a complete stream, None where it is not made of one data line for each."""
    if not body.startswith(_FIELD) or not body.endswith(b"\n\n") or b"\r" in body:
        return None
    found = body[len(_FIELD) : -2].split(b"\n\n" + _FIELD)
    return None if b"\n" in b"".join(found) else found


def split(body: bytes) -> Body:
    """Return every event of a complete stream."""
    data = only_data(body)
    if data is not None:  # as in nearly every stream
        return Body([Event("", each) for each in data], cut=False)
    parser = Parser()
    return Body(parser.feed(body), parser.pending)


def error_event(error: ProxyError, route: str | None) -> bytes:
    """Return the event that ends a stream which broke, in the form the route's clients read.

    It begins with a blank line, so that half an event before it does not swallow it.
    """
    document: dict[str, Any] = error.document()
    name = b""
    if route == routes.MESSAGES:
        name, document = b"event: error\n", {"type": "error", **document}
    elif route == routes.RESPONSES:
        name = b"event: error\n"
        # The format's own fields, and the object without which the OpenAI SDK takes this for an event like any other.
        document = {"type": "error", "code": error.code, "message": error.message, "param": None, **document}
    return b"\n\n" + name + b"data: " + orjson.dumps(document) + b"\n\n"
