"""Changes to the JSON in a stream of events. What is not changed passes byte for byte, however it is chunked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from proxy.core.difference import ABSENT, Difference, differences, snapshot, without_indexes
from proxy.core.document import Document, encode, parse
from proxy.core.errors import AnswerNotEditable
from proxy.core.stream import CONFIGURED, StreamChange
from proxy.wire import sse
from proxy.wire.blocks import whole_blocks

_LINES = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)")
_WHOLE: tuple[str, ...] = ("event",)
"""Stands for all of an event in the ledger, where one was added or left out."""


class Editor(Protocol):
    """Changes a stream event by event. One is made for each stream."""

    def edit(self, document: dict[str, Any], /) -> Iterable[dict[str, Any]]:
        """Return what goes on now: mostly the document itself, changed or not. It may be kept and returned later."""

    def end(self) -> Iterable[dict[str, Any]]:
        """Return what is still kept: at `[DONE]`, or at the end of a stream without one. The rest is left out."""


class _Read(NamedTuple):
    """An event as it came."""

    block: bytes
    document: Document
    before: Any


class EventEdits:
    """A transform of a stream. An event is passed on when it is whole; comments, `[DONE]` and errors pass as they are.

    Args:
        editor: what changes the events.
        why: the reason that the ledger gets.
        keep_done: False takes `[DONE]` out, for a stream that others go on behind.
    """

    def __init__(self, editor: Editor, *, why: str = CONFIGURED, keep_done: bool = True) -> None:
        self._editor = editor
        self._why = why
        self._keep_done = keep_done
        self._pending = b""
        self._parser = sse.Parser()
        self._ended = False
        self._frame = b"data: \n\n"
        self._waiting: dict[int, _Read] = {}  # what the editor has and did not return yet, by id
        self._changes: dict[tuple[str, str], StreamChange] = {}

    @property
    def changes(self) -> list[StreamChange]:
        """What was changed so far: one entry for each field and way, whatever its index."""
        return list(self._changes.values())

    def feed(self, chunk: bytes) -> bytes:
        """Return the events that `chunk` completes, changed.

        Raises:
            AnswerNotEditable: one that would be changed is not JSON that every parser reads the same.
        """
        blocks, self._pending = whole_blocks(self._pending, chunk)
        return b"".join([self._block(block) for block in blocks])

    def end(self) -> bytes:
        """Return what was held back, and what is left of a cut event."""
        return self._held() + self._pending

    def _block(self, block: bytes) -> bytes:
        """Return what goes on in place of one event with its lines, comments included."""
        events = self._parser.feed(block)
        if not events:
            return block
        data = events[0].data
        if data == sse.DONE:
            return self._held() + (block if self._keep_done else b"")
        try:
            document = parse(data)
        except ValueError:
            return block
        if type(document.value) is not dict or document.value.get("error") is not None:
            return block
        self._frame = block
        self._waiting[id(document.value)] = _Read(block, document, snapshot(document.value))
        return b"".join([self._written(item) for item in self._editor.edit(document.value)])

    def _written(self, item: dict[str, Any]) -> bytes:
        read = self._waiting.pop(id(item), None)
        if read is None:
            self._note(Difference(_WHOLE, ABSENT, item))
            return _framed(self._frame, item)
        found = differences(read.before, item)
        if not found:
            return read.block
        if not read.document.exact:
            raise AnswerNotEditable("an event of the answer is JSON that not every parser reads the same")
        for difference in found:
            self._note(difference)
        return _reframed(read.block, item)

    def _held(self) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        held = b"".join([self._written(item) for item in self._editor.end()])
        for gone in self._waiting.values():
            self._note(Difference(_WHOLE, gone.before, ABSENT))
        self._waiting.clear()
        return held

    def _note(self, what: Difference) -> None:
        way = "order" if what.order else "add" if what.before is ABSENT else "drop" if what.after is ABSENT else "set"
        key = (without_indexes(what.field), way)
        noted = self._changes.get(key)
        self._changes[key] = StreamChange(what, self._why) if noted is None else noted._replace(times=noted.times + 1)


def _framed(block: bytes, document: dict[str, Any]) -> bytes:
    """Return the document as an event with the line ends, and where events have names the name, of another."""
    lines = _LINES.findall(block)
    end = next(_line_end(line) for line in lines if _field(line) == b"data")
    named = any(_field(line) == b"event" for line in lines)
    name = b"event: " + str(document.get("type", "")).encode() + end if named else b""
    return name + b"data: " + encode(document) + end * 2


def _reframed(block: bytes, document: dict[str, Any]) -> bytes:
    """Return the event with other data; its further lines stay as they are."""
    out, written = [], False
    for line in _LINES.findall(block):
        if _field(line) != b"data":
            out.append(line)
        elif not written:
            written = True
            out.append(b"data: " + encode(document) + _line_end(line))
    return b"".join(out)


def _field(line: bytes) -> bytes:
    return line.removeprefix(sse.BOM).partition(b":")[0].rstrip(b"\r\n")


def _line_end(line: bytes) -> bytes:
    return line[len(line.rstrip(b"\r\n")) :]
