"""What the model server remembers of the requests it got."""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.testing.jsonio import loads

GENERATION_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"})


@dataclass(slots=True, eq=False)
class RecordedRequest:
    """One request exactly as it was on the wire, and what became of it."""

    method: str
    target: bytes
    """Path and query as sent."""
    headers: list[tuple[bytes, bytes]]
    """In order, duplicates kept, names in the case they had."""
    body: bytes
    """Decoded from chunked encoding if it was sent that way."""
    connection_id: int
    """Which connection it came on, numbered from 1 in order of arrival."""
    http_version: str = "1.1"
    chunks_sent: int = 0
    """Parts of the answer's body given to the operating system so far: shows back-pressure reaching the server."""
    aborted: threading.Event = field(default_factory=threading.Event)
    """Set when the client closed the connection before the answer ended."""
    answered: threading.Event = field(default_factory=threading.Event)
    """Set when the server had sent all it meant to send."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def query(self) -> bytes:
        """What follows the first question mark, b"" if there is none."""
        return self.target.partition(b"?")[2]

    @property
    def json(self) -> Any:
        """The body as JSON; raises ValueError if it is not."""
        return loads(self.body)

    @property
    def is_generation(self) -> bool:
        """True for a POST to a route that generates text."""
        return self.method == "POST" and self.path in GENERATION_PATHS

    def header(self, name: str) -> str | None:
        """The first value of a header whatever its case, None if absent."""
        return next(iter(self.header_values(name)), None)

    def header_values(self, name: str) -> list[str]:
        """All values of a header whatever its case, in order."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    async def wait_aborted(self, timeout: float = 5.0) -> bool:
        """Wait, without blocking the event loop, until the client has left; False after `timeout` seconds."""
        return await asyncio.to_thread(self.aborted.wait, timeout)


class Recorder:
    """The list of recorded requests, filled by the server's thread and read by tests."""

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        self.total = 0
        self._changed = threading.Condition()  # protects the two lists and total
        self._requests: list[RecordedRequest] = []
        self._incomplete: list[RecordedRequest] = []

    def add(self, request: RecordedRequest) -> None:
        """Remember a request that has arrived (only count it where `keep` is False)."""
        with self._changed:
            self.total += 1
            if self.keep:
                self._requests.append(request)
            self._changed.notify_all()

    def add_incomplete(self, request: RecordedRequest) -> None:
        """Remember a request whose client left before its body was there."""
        with self._changed:
            self._incomplete.append(request)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self._requests.clear()
            self._incomplete.clear()
            self.total = 0

    def snapshot(self) -> list[RecordedRequest]:
        """A copy of the list so far."""
        with self._changed:
            return list(self._requests)

    def incomplete(self) -> list[RecordedRequest]:
        """A copy of the list of requests that never became complete."""
        with self._changed:
            return list(self._incomplete)

    def wait_for(self, count: int, timeout: float) -> list[RecordedRequest]:
        """Block until at least `count` requests have arrived; raises TimeoutError naming those that did."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.total >= count, timeout):
                seen = ", ".join(_labels(self._requests)) or "none"
                raise TimeoutError(f"waited {timeout} s for {count} requests and saw {self.total}: {seen}")
            return list(self._requests)


def _labels(requests: Iterable[RecordedRequest]) -> list[str]:
    return [f"{request.method} {request.target.decode('latin-1')}" for request in requests]
