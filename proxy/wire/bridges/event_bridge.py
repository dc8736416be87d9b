"""A stream in the form of one route as a stream in the form of another, event by event."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from proxy.core.difference import Difference
from proxy.core.document import encode, parse
from proxy.core.errors import AnswerNotEditable
from proxy.core.stream import StreamChange
from proxy.wire import sse
from proxy.wire.blocks import whole_blocks


class Translator(Protocol):
    """Says what comes in place of each event. One is made for each stream."""

    @property
    def lost(self) -> list[str]:
        """Fields of events that the other form has no place for."""

    def event(self, document: dict[str, Any], /) -> bytes:
        """Return what comes in place of one event; errors of the model server are events, too."""

    def end(self, done: bytes, /) -> bytes:
        """Return what ends the stream: in place of `[DONE]`, given as it came, or once it is over (`done` is empty)."""


class EventBridge:
    """A transform of a stream. Comments pass as they are.

    Args:
        translator: says what comes in place of each event.
        bridge: the interceptor's name, for errors.
        why: the reason that the ledger gets, before what was lost.
        strict: whether nothing may be lost.
    """

    def __init__(self, translator: Translator, *, bridge: str, why: str, strict: bool = False) -> None:
        self._translator = translator
        self._bridge = bridge
        self._why = why
        self._strict = strict
        self._pending = b""
        self._parser = sse.Parser()
        self._over = False
        self._before, self._after = hashlib.sha256(), hashlib.sha256()

    @property
    def changes(self) -> list[StreamChange]:
        """One entry for all of it: the hashes of what went in and of what came out, by now."""
        before, after = (f"sha256:{digest.hexdigest()}" for digest in (self._before, self._after))
        return [StreamChange(Difference((), before, after), with_losses(self._why, self._translator.lost))]

    def feed(self, chunk: bytes) -> bytes:
        """Return what comes in place of the events that `chunk` completes.

        Raises:
            AnswerNotEditable: one cannot be read, or has no place in the other form.
        """
        self._before.update(chunk)
        blocks, self._pending = whole_blocks(self._pending, chunk)
        return self._passed(b"".join([self._block(block) for block in blocks]))

    def end(self) -> bytes:
        """Return what ends the stream; an event that was cut off is no event."""
        return self._passed(self._end(b""))

    def _block(self, block: bytes) -> bytes:
        events = self._parser.feed(block)
        if not events:
            return block
        data = events[0].data
        if data == sse.DONE:
            return self._end(block)
        return self._translator.event(read(data))

    def _end(self, done: bytes) -> bytes:
        if self._over:
            return b""
        self._over = True
        return self._translator.end(done)

    def _passed(self, out: bytes) -> bytes:
        self._after.update(out)
        if self._strict and self._translator.lost:
            raise lossy(self._bridge, self._translator.lost)
        return out


def read(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in an event.

    Raises:
        AnswerNotEditable: there is none that every parser reads the same.
    """
    try:
        document = parse(raw)
    except ValueError:
        raise AnswerNotEditable("an event of the model server's stream is not JSON") from None
    if not document.exact or type(document.value) is not dict:
        raise AnswerNotEditable(
            "an event of the model server's stream is no JSON object that every parser reads the same"
        )
    return document.value


def lossy(bridge: str, lost: list[str]) -> AnswerNotEditable:
    """Return the error for an answer of which `strict` forbids to lose anything."""
    return AnswerNotEditable(
        f"interceptor '{bridge}' has no place for {', '.join(lost)} of the answer, and strict is set; allow it with"
        f" 'strict: false' among the options of '{bridge}'"
    )


def with_losses(why: str, lost: list[str]) -> str:
    """Return the reason for the ledger, with the fields that were not carried over."""
    return f"{why}; not carried: {', '.join(lost)}" if lost else why


def data_event(document: dict[str, Any]) -> bytes:
    """Return a document as an event without a name."""
    return b"data: " + encode(document) + b"\n\n"
