"""Answers to deterministic requests: one for everyone."""

from __future__ import annotations

from functools import lru_cache

from proxy.cache.asked import Asked
from proxy.cache.flights import Flights
from proxy.cache.keeping import Keeper
from proxy.cache.lookup import NOTHING, Lookup, as_response
from proxy.cache.verifying import Verifier
from proxy.core.errors import ReplayMiss
from proxy.core.facts import CacheFacts
from proxy.core.http import Exchange, Response
from proxy.store.base import DEFAULT_RUN, POOLED, EntryKey, StoredResponse
from proxy.wire.identity import is_credential


@lru_cache(maxsize=1024)
def _decides(name: bytes) -> bool:
    return name == b"cookie" or is_credential(name)


class Pooling:
    """Serves the pooled answer, or has it asked for once.

    Args:
        coalesce: whether identical requests in flight share a call.
    """

    def __init__(self, lookup: Lookup, keeper: Keeper, flights: Flights, verifier: Verifier, *, coalesce: bool) -> None:
        self._store = lookup.store
        self._lookup = lookup
        self._keeper = keeper
        self._flights = flights
        self._verifier = verifier
        self._coalesce = coalesce

    async def answer(self, asked: Asked) -> Response:
        """Return the answer of the pool, or a new one for it."""
        reason = NOTHING if asked.serves else f"mode {asked.mode} serves nothing"
        if asked.serves:
            for name in asked.names:
                at = EntryKey(asked.place.key(name), POOLED, 0, asked.place.shape)
                found = await self._lookup.find(at, asked.place.route, usage=asked.shows_usage)
                if isinstance(found, StoredResponse):
                    return self._hit(asked, at, found)
                reason = found
        if asked.identity is None or asked.mode == "replay":
            asked.exchange.put(CacheFacts("miss", reason=reason))
            raise ReplayMiss(f"nothing is on record for this request: {reason}")
        at = EntryKey(asked.place.key(asked.identity.name), POOLED, 0, asked.place.shape)
        asked.exchange.put(CacheFacts("miss", at.key.hex(), reason=reason))
        return await self._ask(asked, at)

    def _hit(self, asked: Asked, at: EntryKey, found: StoredResponse) -> Response:
        asked.exchange.put(CacheFacts("hit", at.key.hex()))
        self._store.count(asked.exchange.run or DEFAULT_RUN, at, served=True)
        if asked.mode == "verify":
            self._verifier.served(asked, at, found)
        return as_response(found)

    async def _ask(self, asked: Asked, at: EntryKey) -> Response:
        def prepare(exchange: Exchange, response: Response) -> None:
            asked.watch(
                exchange,
                response,
                lambda answer: self._keeper.keep(at, answer, asked.witness, replace=asked.replaces),
            )

        shares = self._coalesce and asked.coalesces
        if not shares and not self._flights.finish:
            response = await asked.call_next(asked.exchange)
            prepare(asked.exchange, response)
            return response
        # The model server may refuse one client and not the other.
        keys = tuple([item for item in asked.exchange.request.headers if _decides(item[0])])
        nobody_else = None if shares else object()
        boarded = await self._flights.board((at, keys, nobody_else), asked.exchange, asked.call_next, prepare)
        if not boarded.led:
            asked.exchange.put(CacheFacts("coalesced", at.key.hex()))
            if boarded.response.status == 200:
                self._store.count(asked.exchange.run or DEFAULT_RUN, at, served=True)
        return boarded.response
