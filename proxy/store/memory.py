"""A store that forgets at exit: for tests of interceptors."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Mapping

from proxy.store import changes, memories, queries, samples, statistics
from proxy.store.base import (
    DEFAULT_RUN,
    Asker,
    Candidate,
    ChangeKind,
    EntryKey,
    ExchangeRecord,
    Lease,
    Losses,
    RunState,
    Sequence,
    StoredResponse,
)
from proxy.store.rows import read_response, write_response
from proxy.store.schema import migrate
from proxy.store.unconfirmed import finish


class MemoryStore:
    """A `ResponseStore`, a `RunStore` and an `ExchangeLog` in this process's memory: SQLite without a file."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self._db)
        self._leases = 0
        self.records: list[ExchangeRecord] = []
        self.losses = Losses()

    async def room(self) -> None:
        """Return: nothing is queued here."""

    async def get(self, at: EntryKey, /) -> StoredResponse | None:
        """Return the answer kept there, None where there is none."""
        row = self._db.execute(queries.GET, at).fetchone()
        return None if row is None else read_response(row)

    async def others(self, at: EntryKey, /) -> list[tuple[str, StoredResponse]]:
        """Return the answer in other shapes."""
        return [(row[0], read_response(row[1:])) for row in self._db.execute(queries.OTHERS, at)]

    def put(self, at: EntryKey, response: StoredResponse, /, *, replace: bool = False) -> None:
        """Keep an answer; what is there already stays, unless it is to be replaced."""
        write_response(self._db, at, response, replace=replace)

    async def run(self, name: str, /) -> RunState:
        """Return the run's state."""
        return samples.run_state(self._db, name)

    async def take(self, of: Sequence, /, *, serves: bool = True) -> Lease:
        """Lease the lowest unused sample of the run."""
        return samples.take(self._db, of, self._holder(), serves=serves)

    async def take_recorded(self, of: Sequence, /) -> Lease | None:
        """Lease the lowest unused sample of the run that is answered."""
        return samples.take_recorded(self._db, of, self._holder())

    async def claim(self, of: Sequence, sample: int, /) -> Lease | None:
        """Lease a sample that the client named itself."""
        return samples.claim(self._db, of, sample, self._holder())

    async def mark(self, lease: Lease, /, *, replayed: bool) -> Lease:
        """Return the lease of a sample whose answer is replayed, or is not."""
        return samples.mark(self._db, lease, replayed=replayed)

    def _holder(self) -> str:
        self._leases += 1
        return f"memory-{self._leases}"

    async def identities(self, run: str, /) -> list[str]:
        """Return the model servers that answered the run."""
        return samples.identities(self._db, run)

    def settle(
        self,
        lease: Lease,
        /,
        *,
        used: bool,
        answer: tuple[EntryKey, StoredResponse] | None = None,
        replace: bool = False,
    ) -> None:
        """End a lease and keep its answer."""
        if answer is None:
            samples.settle(self._db, lease, used=used)
        else:
            finish(self._db, Candidate(*answer, lease=lease, used=used, replaces=replace, kept=True))

    def hold(self, it: Candidate, /) -> None:
        """Do nothing: there is no disk that it could be on."""

    def decide(self, it: Candidate, /, *, kept: bool) -> None:
        """Keep an answer that is held, or drop it."""
        it.kept = kept
        finish(self._db, it)

    @property
    def left(self) -> Collection[Asker]:
        """Nobody: no process was here before."""
        return ()

    async def look(self) -> None:
        """Return: nobody else is here."""

    async def adopt(self, asker: Asker, identity: str, knows: Callable[[str], bool], /) -> None:
        """Do nothing."""

    def count(self, run: str, at: EntryKey, /, *, served: bool) -> None:
        """Count that the run used an answer."""
        samples.count(self._db, run, (at.key, at.pool, at.sample or 0), asked=not served, served=served)

    def saw(self, run: str, identity: str, server: str, facts: Mapping[str, str], /) -> None:
        """Note which model server answered the run."""
        self._db.execute(queries.SAW, queries.seen(run, identity, server, facts))

    def verified(self, run: str, key: bytes, differs: str | None, /) -> None:
        """Note that a stored answer was asked for again."""
        self._db.execute(queries.VERIFIED, queries.verification(run, key, differs))

    def append(self, record: ExchangeRecord, /) -> None:
        """Keep a record of an exchange."""
        self.records.append(record)

    def count_changes(self, run: str | None, kinds: Collection[ChangeKind], /) -> None:
        """Count a request that passed the transforms, and what they changed."""
        for kind in (None, *kinds):
            changes.add(self._db, (run, kind), 1)

    def observe(self, run: str | None, values: Mapping[str, float], /) -> None:
        """Add a value of each quantity to the statistics of the run's pass."""
        for name, value in values.items():
            statistics.add(self._db, (run, name), statistics.Quantity.of(value))

    def observed(self, run: str | None, name: str, /) -> int:
        """Return how often a quantity was observed in the run's pass."""
        return statistics.times(self._db, run, name)

    def recall(self, run: str | None, kind: str, key: str, /) -> str | None:
        """Return what was remembered, None where nothing was."""
        return memories.recall(self._db, (run or DEFAULT_RUN, kind, key))

    def remember(self, run: str | None, kind: str, key: str, value: str, /, *, keep: int | None = None) -> None:
        """Remember a value in place of the one before."""
        memories.remember(self._db, (run or DEFAULT_RUN, kind, key), value, time.time(), keep)

    def lost(self, name: str, /) -> None:
        """Count a loss."""
        setattr(self.losses, name, getattr(self.losses, name) + 1)

    async def amend(self, run: str | None, kind: str, key: str, change: Callable[[str | None], str], /) -> str:
        """Replace what is remembered by what `change` makes of it."""
        return memories.amend(self._db, (run or DEFAULT_RUN, kind, key), change, time.time())

    async def flush(self) -> None:
        """Return at once: nothing is queued."""
