"""Answers to requests for a stream whose headers do not say that they are one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.core.stream import StreamChange, StreamTransform
from proxy.wire.sse import begins_as_events


class ByItsBeginning:
    """A transform of an answer by the one or the other of two, once its first bytes tell what it is.

    Args:
        document: makes the transform of what is no stream of events.
        events: makes that of one.
    """

    def __init__(self, document: Callable[[], StreamTransform], events: Callable[[], StreamTransform]) -> None:
        self._document = document
        self._events = events
        self._beginning = b""
        self._chosen: StreamTransform | None = None

    @property
    def changes(self) -> Sequence[StreamChange]:
        """Those of the chosen one."""
        return getattr(self._chosen, "changes", ())

    def feed(self, chunk: bytes) -> bytes:
        """Hold the chunk back until it can be told."""
        if self._chosen is not None:
            return self._chosen.feed(chunk)
        self._beginning += chunk
        events = begins_as_events(self._beginning)
        if events is None:
            return b""
        return self._choose(self._events if events else self._document)

    def end(self) -> bytes:
        """Return what was held back."""
        held = self._choose(self._document) if self._chosen is None else b""
        assert self._chosen is not None
        return held + self._chosen.end()

    def _choose(self, make: Callable[[], StreamTransform]) -> bytes:
        beginning, self._beginning = self._beginning, b""
        self._chosen = make()
        return self._chosen.feed(beginning)


class Untouched:
    """A transform that changes nothing."""

    changes: Sequence[StreamChange] = ()

    def feed(self, chunk: bytes) -> bytes:
        """Return it."""
        return chunk

    def end(self) -> bytes:
        """Return nothing."""
        return b""
