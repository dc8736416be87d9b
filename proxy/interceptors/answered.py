"""The whole answer of an exchange, for observers that look at it once it is over."""

from __future__ import annotations

from collections.abc import Callable

from proxy.core.collect import Collector
from proxy.core.facts import CacheFacts, Damped
from proxy.core.http import Exchange, Response, get_header
from proxy.core.stream import Outcome
from proxy.wire.encoding import decode
from proxy.wire.sse import begins_as_events, is_event_stream

LARGEST = 64 * 1024 * 1024
"""Bytes. Of a longer body the beginning is seen."""
_BEGINNING = 32
"""Bytes that tell a stream of events from a document."""


class Answered:
    """What the client got of an answer.

    Args:
        then: called once with it, and with how the answer ended.
    """

    def __init__(self, response: Response, then: Callable[[Answered, Outcome], None]) -> None:
        self.status = response.status
        self.headers = response.headers
        self.streamed = is_event_stream(response.headers)
        self._then = then
        self._collected = Collector(LARGEST)

    @property
    def body(self) -> bytes:
        """Content encoding removed, where it can be."""
        raw = self._collected.body
        decoded = decode(raw, get_header(self.headers, b"content-encoding"))
        return raw if decoded is None else decoded

    def feed(self, chunk: bytes) -> None:
        self._collected.feed(chunk)

    def done(self, outcome: Outcome) -> None:
        if not self.streamed and begins_as_events(self.body[:_BEGINNING]):
            self.streamed = True  # its content type says something else
        self._then(self, outcome)


def is_live(exchange: Exchange) -> bool:
    """Return whether the model server was asked for this answer now."""
    facts = exchange.get(CacheFacts)
    served = facts is not None and facts.status in {"hit", "coalesced"}
    return not served and exchange.get(Damped) is None
