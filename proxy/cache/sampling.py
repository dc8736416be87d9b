"""Answers that are drawn at random: the k-th identical request of a run gets sample k of that run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from proxy.cache.asked import Asked, Holder
from proxy.cache.flights import Flights
from proxy.cache.keeping import Keeper
from proxy.cache.lookup import NOTHING, Lookup, as_response
from proxy.core.errors import InvalidHeader, ReplayMiss, SampleBusy, StoreUnwritable
from proxy.core.facts import CacheFacts, SampleOverride
from proxy.core.http import Exchange, Response
from proxy.core.stream import Outcome
from proxy.store.base import (
    DEFAULT_RUN,
    CacheStore,
    EntryKey,
    Lease,
    Sequence,
    StoredResponse,
    StoreError,
    sample_pool,
)

NEVER_SERVED = "it is sampled, and samples of the default run are never served; name a run"


@dataclass(slots=True, eq=False)
class _Taken:
    """A sample that this request has, and its answer once it is complete."""

    asked: Asked
    lease: Lease
    number: int
    """Of the pass that it was taken in."""
    holder: Holder = field(default_factory=Holder)

    @property
    def flight(self) -> tuple[Sequence, int, int]:
        """The key of its call: that of another pass is another."""
        return self.lease.of, self.number, self.lease.sample


class Sampling:
    """Gives every request of a run a sample of its own.

    Args:
        flights: calls that go on when their client leaves; the next identical request attaches to them. None where they
            are cancelled.
    """

    def __init__(self, store: CacheStore, lookup: Lookup, keeper: Keeper, flights: Flights | None) -> None:
        self._store = store
        self._lookup = lookup
        self._keeper = keeper
        self._flights = flights
        self._abandoned: dict[tuple[Sequence, int], list[_Taken]] = {}
        """Samples whose call goes on without a client, by sequence and pass."""

    async def answer(self, asked: Asked) -> Response:
        """Return the next sample, or the one that the request names."""
        run = asked.exchange.run or DEFAULT_RUN
        if run == DEFAULT_RUN:
            return await self._unnamed(asked)
        received = hashlib.sha256(asked.exchange.received).hexdigest()[:32]
        for name in asked.names:
            taken = await self._take(asked, Sequence(run, received, asked.place.key(name)))
            if taken is None:
                continue
            try:
                response = await self._sample(asked, taken)
            except BaseException:
                self._give_back(taken)
                raise
            if response is not None:
                return response
            self._give_back(taken)
        if asked.exchange.get(CacheFacts) is None:
            asked.exchange.put(CacheFacts("miss", reason=NOTHING))
        raise ReplayMiss(f"run '{run}' has no further sample of this request on record")

    async def _unnamed(self, asked: Asked) -> Response:
        if asked.exchange.get(SampleOverride) is not None:
            raise InvalidHeader(
                "x-evalside-sample names a sample of a run; name the run in x-evalside-run or in the URL"
            )
        if asked.identity is None or asked.mode == "replay":
            raise ReplayMiss(f"nothing can be replayed: {NEVER_SERVED}")
        key = asked.place.key(asked.identity.name)
        at = EntryKey(key, DEFAULT_RUN, None, asked.place.shape)
        asked.exchange.put(CacheFacts("miss", key.hex(), reason=NEVER_SERVED))
        response = await asked.call_next(asked.exchange)
        asked.watch(asked.exchange, response, lambda answer: self._keeper.keep(at, answer, asked.witness))
        return response

    async def _take(self, asked: Asked, of: Sequence) -> _Taken | None:
        """Return a sample for this request; None in a replay that has no further one."""
        override = asked.exchange.get(SampleOverride)
        number = (await self._store.run(of.run)).number
        abandoned = next(iter(self._abandoned.get((of, number), ())), None)
        if abandoned is not None and override is None:
            self._attached(abandoned)
            return abandoned
        try:
            lease = await self._lease(asked, of)
        except StoreError as error:
            raise _unwritable(of, error) from None
        return None if lease is None else _Taken(asked, lease, number)

    async def _lease(self, asked: Asked, of: Sequence) -> Lease | None:
        override = asked.exchange.get(SampleOverride)
        if override is None:
            if asked.mode == "replay":
                return await self._store.take_recorded(of)
            return await self._store.take(of, serves=asked.serves)
        pool = sample_pool(of.run, of.received)
        await self._keeper.pending(EntryKey(of.key, pool, override.index, asked.place.shape))
        lease = await self._store.claim(of, override.index)
        if lease is None:
            raise SampleBusy(f"sample {override.index} of run '{of.run}' is being asked for by another request")
        return lease

    async def _sample(self, asked: Asked, taken: _Taken) -> Response | None:
        """Return the sample, None where it has to be replayed and is not there."""
        lease = taken.lease
        key, sample = lease.of.key, lease.sample
        reason: str | None = f"mode {asked.mode} serves nothing"
        if asked.serves:
            for pool in lease.pools:
                at = EntryKey(key, pool, sample, asked.place.shape)
                found = await self._lookup.find(at, asked.place.route, usage=asked.shows_usage)
                if isinstance(found, StoredResponse):
                    await self._mark(taken, replayed=True)
                    return self._hit(asked, taken, at, found)
                reason = found
        if asked.mode == "replay":
            asked.exchange.put(CacheFacts("miss", reason=reason))
            return None
        asked.exchange.put(CacheFacts("miss", key.hex(), sample, reason))
        await self._mark(taken, replayed=False)
        response = await self._ask(asked, taken)
        response.on_close(lambda outcome: self._settle(taken, response, outcome))
        return response

    async def _mark(self, taken: _Taken, *, replayed: bool) -> None:
        """Have a kill use the sample up, or not; it is only seldom otherwise than it was when it was leased."""
        if taken.lease.holder and taken.lease.replayed is not replayed:
            try:
                taken.lease = await self._store.mark(taken.lease, replayed=replayed)
            except StoreError as error:
                raise _unwritable(taken.lease.of, error) from None

    def _hit(self, asked: Asked, taken: _Taken, at: EntryKey, found: StoredResponse) -> Response:
        asked.exchange.put(CacheFacts("hit", at.key.hex(), at.sample))
        self._store.count(taken.lease.of.run, at, served=True)
        response = as_response(found)
        response.on_close(lambda outcome: self._store.settle(taken.lease, used=outcome is Outcome.COMPLETE))
        return response

    async def _ask(self, asked: Asked, taken: _Taken) -> Response:
        def prepare(exchange: Exchange, response: Response) -> None:
            asked.watch(exchange, response, taken.holder.put)

        if self._flights is None or not taken.lease.holder:
            response = await asked.call_next(asked.exchange)
            prepare(asked.exchange, response)
            return response
        boarded = await self._flights.board(taken.flight, asked.exchange, asked.call_next, prepare)
        if not boarded.led:
            asked.exchange.put(CacheFacts("coalesced", taken.lease.of.key.hex(), taken.lease.sample))
        return boarded.response

    def _settle(self, taken: _Taken, response: Response, outcome: Outcome) -> None:
        """End the lease when the client has the last byte, or never will."""
        if outcome is not Outcome.COMPLETE:
            self._give_back(taken)
        elif taken.holder.answer is not None:
            self._keep(taken, taken.holder.answer, used=True)
        else:
            # An answer that cannot be kept leaves its place to the next one, so that a replay has no gap.
            self._store.settle(taken.lease, used=not taken.asked.stores and response.status == 200)

    def _keep(self, taken: _Taken, answer: StoredResponse, *, used: bool) -> None:
        asked, lease = taken.asked, taken.lease
        at = EntryKey(lease.of.key, lease.pool, lease.sample, asked.place.shape)
        self._keeper.keep(at, answer, asked.witness, lease=lease, used=used, replace=asked.replaces)

    def _give_back(self, taken: _Taken) -> None:
        """Free a sample; one whose call goes on waits for the next identical request."""
        lease = taken.lease
        flight = self._flights.find(taken.flight) if self._flights is not None else None
        if taken.holder.answer is not None:
            self._keep(taken, taken.holder.answer, used=False)
        elif flight is None or not lease.holder:
            self._store.settle(lease, used=False)
        else:
            self._abandoned.setdefault((lease.of, taken.number), []).append(taken)
            flight.after = lambda: self._landed(taken)

    def _landed(self, taken: _Taken) -> None:
        """Keep the answer of an abandoned call, unless somebody has attached to it."""
        if taken in self._abandoned.get((taken.lease.of, taken.number), ()):
            self._attached(taken)
            self._give_back(taken)

    def _attached(self, taken: _Taken) -> None:
        """Take a sample off the list of those that nobody waits for."""
        place = taken.lease.of, taken.number
        self._abandoned[place].remove(taken)
        if not self._abandoned[place]:
            del self._abandoned[place]


def _unwritable(of: Sequence, error: StoreError) -> StoreUnwritable:
    return StoreUnwritable(f"run '{of.run}' cannot hand out samples: {error}")
