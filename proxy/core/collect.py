"""Keeps what passes, up to a limit."""

from __future__ import annotations


class Collector:
    """Keeps the first `limit` bytes of a body that arrives in chunks. A tap feeds it, and reads it at the end.

    Attributes:
        cut: whether there was more than is kept.
    """

    __slots__ = ("_chunks", "_room", "cut")

    def __init__(self, limit: int) -> None:
        self._chunks: list[bytes] = []
        self._room = limit
        self.cut = False

    def feed(self, chunk: bytes) -> None:
        """Keep `chunk`, or the beginning of it that there is room for."""
        kept = chunk[: self._room]  # the chunk itself, and no copy, where all of it has room
        self.cut = self.cut or len(kept) < len(chunk)
        if kept:
            self._chunks.append(kept)
            self._room -= len(kept)

    @property
    def body(self) -> bytes:
        """What was kept, in one piece."""
        return b"".join(self._chunks)
