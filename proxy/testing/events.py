"""Server-sent events with the pace of a generating model."""

from typing import Any

from proxy.testing.jsonio import dumps
from proxy.testing.replies import Reply


class EventStream:
    """Collects events; `reply()` sends each as a chunk of its own, waiting before those that carry a new token."""

    def __init__(self, latency: float, seconds_per_token: float) -> None:
        self._latency = latency
        self._seconds_per_token = seconds_per_token
        self._chunks: list[bytes] = []
        self._tokens: set[int] = set()

    def add(self, value: Any, event: str | None = None, token: bool = False) -> None:
        """Add an event with JSON data; `token` marks it as one that had to be generated first."""
        if token:
            self._tokens.add(len(self._chunks))
        name = f"event: {event}\n".encode() if event else b""
        self._chunks.append(name + b"data: " + dumps(value) + b"\n\n")

    def add_done(self) -> None:
        """Add `data: [DONE]`."""
        self._chunks.append(b"data: [DONE]\n\n")

    def reply(self) -> Reply:
        """The stream as a reply."""
        pause = self._pause if self._seconds_per_token else 0.0
        return Reply(chunks=self._chunks, delay=self._latency, chunk_delay=pause)

    def _pause(self, index: int) -> float:
        return self._seconds_per_token if index in self._tokens else 0.0
