"""One request on its way through the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.cache.keeping import Completed, Witness
from proxy.cache.place import Place
from proxy.core.facts import UsageAsked
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Next
from proxy.core.redact import Redactor
from proxy.store.base import StoredResponse
from proxy.wire.identity import Identity

_SERVES = frozenset({"on", "read", "replay", "verify"})
_STORES = frozenset({"on", "write", "refresh", "verify"})
_COALESCES = frozenset({"on", "read"})


@dataclass(slots=True, eq=False)
class Asked:
    """What is asked, by whom, and what the cache may do about it."""

    exchange: Exchange
    call_next: Next
    place: Place
    mode: str
    identity: Identity | None
    """Of the model server that answers now; None in `replay` where that is not known."""
    names: list[str]
    """Identities to look under: that one's, and in `replay` those that are on record."""
    redactor: Redactor

    @property
    def serves(self) -> bool:
        """Whether a stored answer may be served."""
        return self.mode in _SERVES

    @property
    def stores(self) -> bool:
        """Whether a new answer is kept."""
        return self.mode in _STORES

    @property
    def replaces(self) -> bool:
        """Whether it takes the place of one that is there."""
        return self.mode == "refresh"

    @property
    def shows_usage(self) -> bool:
        """Whether the client asked for the usage of a stream, and the model server cannot be asked for it."""
        return self.exchange.get(UsageAsked) is not None

    @property
    def coalesces(self) -> bool:
        """Whether it may share a call with others."""
        return self.mode in _COALESCES

    @property
    def witness(self) -> Witness:
        """Who can confirm that the model server stayed the same."""
        assert self.identity is not None
        return Witness(self.identity, self.exchange.request.headers, self.place.model)

    def watch(self, exchange: Exchange, response: Response, then: Callable[[StoredResponse], None]) -> None:
        """Have `then` called with the answer to this request, on `exchange` or a fork of it, once it is complete."""
        if self.stores and response.status == 200:
            assert self.identity is not None
            response.tap(Completed(exchange, response, self.place, self.identity, redactor=self.redactor, then=then))


@dataclass(slots=True)
class Holder:
    """Where an answer is put down until it is known whether the client got it."""

    answer: StoredResponse | None = field(default=None)

    def put(self, answer: StoredResponse) -> None:
        """Put it down."""
        self.answer = answer
