"""The SQLite store: inline reads on a kept connection, every write through the writer thread."""

from __future__ import annotations

import asyncio
import operator
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

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
    StoreError,
)
from proxy.store.bounds import Bounds
from proxy.store.exchange_rows import write_exchange
from proxy.store.front import Front
from proxy.store.location import folder_lock, prepare_file, usable
from proxy.store.retention import Retention, enforce
from proxy.store.rows import drop_damaged, read_response
from proxy.store.schema import migrate, refuse_unknown
from proxy.store.tally import Tally
from proxy.store.unconfirmed import Unconfirmed, finish, free_lease
from proxy.store.workers import Worker, free
from proxy.store.writer import Job, Writer

T = TypeVar("T")
L = TypeVar("L", Lease, Lease | None)

_PAGE = 8192
"""Bytes of a page of a new database. An exchange rarely fits twice into SQLite's own 4096, which wastes a third of the
file and of what is written; with larger ones each key, which goes into a page of its own, costs too much."""
_BUSY = 10.0
"""Seconds a connection waits for another process's transaction."""


class SqliteStore:
    """A `ResponseStore`, a `RunStore` and an `ExchangeLog` in one file.

    Args:
        path: the database file; it and its folder are created for their owner alone.
        retention: what may be deleted.

    Raises (from `open`):
        StoreError: the file cannot be used; it is left as it was.
    """

    def __init__(self, path: Path, retention: Retention = Retention()) -> None:  # noqa: B008 - frozen
        self.path = path
        self._unwritten: dict[EntryKey, Candidate] = {}
        self._replacing: dict[tuple[bytes, str, int | None], Candidate] = {}  # what hides the rows of its place
        self._worker = Worker(path)
        self._undecided = Unconfirmed(self._worker)
        self._retention = retention
        self._bounds = Bounds()
        self._leases = 0
        self._writer = Writer(self._housekeep)
        self._uses = Tally(self._writer, int.__add__, samples.count_use)
        self._changes = Tally(self._writer, int.__add__, changes.add)
        self._statistics = Tally(self._writer, operator.iadd, statistics.add_all)
        self._unsaid: dict[tuple[str, str, str], str] = {}  # memories on their way to the database

    def open(self) -> None:
        """Check, create or migrate the file, and start the writer."""
        prepare_file(self.path)
        with usable(self.path):
            with folder_lock(self.path), closing(self._connect()) as connection:
                refuse_unknown(connection, str(self.path))
                connection.execute(f"PRAGMA page_size = {_PAGE}")  # does nothing to one that is there
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection)
            self._worker.open()
            with suppress(sqlite3.Error), closing(self._connect()) as connection:
                self._bury(connection)  # before anything is asked; the writer tries again
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only = 1")
            self._front = Front(self._reader)
            self._writer.start(self._connect())

    def close(self) -> None:
        """Write what is queued and close every connection."""
        self._writer.submit(Job(lambda connection: free(connection, self._worker.name), 0, is_log=False))
        self._writer.close()
        self._reader.close()
        self._worker.close()

    @property
    def losses(self) -> Losses:
        """What could not be written or read, in this process."""
        return self._writer.losses

    def unsaved_losses(self) -> dict[str, int]:
        """Return this process's losses that `reading.losses` does not show yet, by name."""
        return self._writer.unsaved()

    async def room(self) -> None:
        """Wait while the writer is far behind: answers are never shed."""
        await self._writer.room()

    async def get(self, at: EntryKey, /) -> StoredResponse | None:
        """Return the answer kept there; None where there is none, or where it cannot be read (counted)."""
        unwritten = self._unwritten.get(at)
        if at[:3] in self._replacing:
            return None if unwritten is None else unwritten.response
        try:
            held = None if self._front.lacks(at.key) else self._front.get(at) or self._read(at)
            if held is not None:
                return held
        except sqlite3.Error as error:
            self._writer.count_failed_read(error)
        except ValueError as error:
            self._damaged(at, error)
        return None if unwritten is None else unwritten.response

    def _read(self, at: EntryKey) -> StoredResponse | None:
        row = self._reader.execute(queries.GET_WITH_ID, at).fetchone()
        if row is None:
            return None
        response = read_response(row[1:])
        self._front.put(at, row[0], response)
        return response

    async def others(self, at: EntryKey, /) -> list[tuple[str, StoredResponse]]:
        """Return the answer in other shapes; those that cannot be read are left out (counted)."""
        found = []
        try:
            if self._front.lacks(at.key):
                return []
            if at[:3] not in self._replacing:
                for shape, *row in self._reader.execute(queries.OTHERS, at).fetchall():
                    try:
                        found.append((shape, read_response(row)))
                    except ValueError as error:
                        self._damaged(at, error)
        except sqlite3.Error as error:
            self._writer.count_failed_read(error)
        coming = list(self._unwritten.items())  # the writer's thread takes out what is written
        found += [(to.shape, it.response) for to, it in coming if to[:3] == at[:3] and to.shape != at.shape]
        return found

    def _damaged(self, at: EntryKey, error: ValueError) -> None:
        """Make room for the next answer where one is that cannot be read."""
        self._writer.count_failed_read(error)
        self._note(lambda db: drop_damaged(db, at))

    def put(self, at: EntryKey, response: StoredResponse, /, *, replace: bool = False) -> None:
        """Keep an answer; what is there already stays, unless it is to be replaced."""
        self.hold(Candidate(at, response, replaces=replace, kept=True))

    async def run(self, name: str, /) -> RunState:
        """Return the run's state; one that is not there, or cannot be read (counted), is as new."""
        try:
            return samples.run_state(self._reader, name)
        except sqlite3.Error as error:
            self._writer.count_failed_read(error)
            return RunState()

    async def take(self, of: Sequence, /, *, serves: bool = True) -> Lease:
        """Lease the lowest unused sample of the run. Raises StoreError where that cannot be written."""
        return await self._leased(lambda connection, holder: samples.take(connection, of, holder, serves=serves))

    async def take_recorded(self, of: Sequence, /) -> Lease | None:
        """Lease the lowest unused sample that is answered. Raises StoreError where that cannot be written."""
        return await self._leased(lambda connection, holder: samples.take_recorded(connection, of, holder))

    async def claim(self, of: Sequence, sample: int, /) -> Lease | None:
        """Lease a sample that the client named itself. Raises StoreError where that cannot be written."""
        await self._writer.flush()  # who had it may have settled it a moment ago
        return await self._leased(lambda connection, holder: samples.claim(connection, of, sample, holder))

    async def mark(self, lease: Lease, /, *, replayed: bool) -> Lease:
        """Return the lease of a sample whose answer is replayed, or is not. Raises StoreError as `take` does."""
        return await self._writer.transact(lambda connection: samples.mark(connection, lease, replayed=replayed))

    async def _leased(self, lease: Callable[[sqlite3.Connection, str], L]) -> L:
        self._leases += 1
        holder = f"{self._worker.name}-{self._leases}"
        leasing = self._writer.transact(lambda connection: lease(connection, holder))
        try:
            return await asyncio.shield(leasing)
        except asyncio.CancelledError:
            leasing.add_done_callback(self._nobody_took)
            raise

    def _nobody_took(self, leasing: asyncio.Future[L]) -> None:
        """Free what was leased to a client that has left meanwhile."""
        lease = leasing.result() if leasing.exception() is None else None
        if lease is not None:
            self.settle(lease, used=False)

    async def identities(self, run: str, /) -> list[str]:
        """Return the model servers that answered the run; none where they cannot be read (counted)."""
        try:
            return samples.identities(self._reader, run)
        except sqlite3.Error as error:
            self._writer.count_failed_read(error)
            return []

    def settle(
        self,
        lease: Lease,
        /,
        *,
        used: bool,
        answer: tuple[EntryKey, StoredResponse] | None = None,
        replace: bool = False,
    ) -> None:
        """End a lease and keep its answer, in one transaction. Who takes next finds it free if it was not used."""
        if answer is None:
            self._note(lambda db: samples.settle(db, lease, used=used))
        else:
            self.hold(Candidate(*answer, lease=lease, used=used, replaces=replace, kept=True))
        if not used:
            self._writer.hurry_up()

    def hold(self, it: Candidate, /) -> None:
        """Have an answer on the disk, also where it is not decided yet whether it is kept."""
        if it.kept:
            self._there(it)
        self._submit(it, self._undecided.write, partial(self._undecided.waits, it))

    def decide(self, it: Candidate, /, *, kept: bool) -> None:
        """Keep an answer that is held, or drop it, and end its lease in the same transaction."""
        if kept:
            self._there(it)
        late = self._undecided.decide(it, kept=kept)
        if late and kept:
            self._submit(it, finish, lambda: False)
        elif late:
            self._note(partial(finish, it=it))
        if it.lease is not None and not (kept and it.used):
            self._writer.hurry_up()

    @property
    def left(self) -> Collection[Asker]:
        """Who can decide on answers that a process left undecided that is gone."""
        return self._undecided.left

    async def look(self) -> None:
        """Find out what processes left undecided that are gone; what cannot be written now waits for a later look."""
        with suppress(StoreError):
            await self._writer.transact(self._bury)

    async def adopt(self, asker: Asker, identity: str, knows: Callable[[str], bool], /) -> None:
        """Decide on these. Raises StoreError where that cannot be written."""
        lost = await self._writer.transact(lambda db: self._undecided.adopt(db, asker, identity, knows))
        for name, count in lost.items():
            self._writer.lost(name, count)

    async def decided(self, run: str) -> None:
        """Return when it is decided on all answers of a run, or soon after where that takes long."""
        await self._writer.flush()  # those of the last moment are there only then
        await self.look()  # who was killed decides on nothing
        await self._undecided.decided(self._reader, run)

    def count(self, run: str, at: EntryKey, /, *, served: bool) -> None:
        """Count that the run used an answer."""
        self._uses.add([(samples.Use(run, (at.key, at.pool, at.sample or 0), served), 1)])

    def saw(self, run: str, identity: str, server: str, facts: Mapping[str, str], /) -> None:
        """Note which model server answered the run."""
        row = queries.seen(run, identity, server, facts)
        self._note(lambda db: db.execute(queries.SAW, row))

    def verified(self, run: str, key: bytes, differs: str | None, /) -> None:
        """Note that a stored answer was asked for again."""
        row = queries.verification(run, key, differs)
        self._note(lambda db: db.execute(queries.VERIFIED, row))

    def _note(self, write: Callable[[sqlite3.Connection], object]) -> None:
        """Queue a write that is made up for later where a batch is given up."""
        self._writer.submit(Job(write, 0, is_log=False, owed=write))

    def lost(self, name: str, /) -> None:
        """Count a loss."""
        self._writer.lost(name)

    async def change(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `write` returns once its transaction is committed. Raises StoreError where it is refused."""
        return await self._writer.transact(write)

    def append(self, record: ExchangeRecord, /) -> None:
        """Keep a record of an exchange, unless the writer is too far behind."""
        bodies = (record.request_body, record.sent_body, record.response_body, record.changes)
        size = sum(len(body) for body in bodies if body is not None) + 512
        self._writer.submit(Job(lambda connection: write_exchange(connection, record), size, is_log=True))

    def count_changes(self, run: str | None, kinds: Collection[ChangeKind], /) -> None:
        """Count a request that passed the transforms, and what they changed."""
        self._changes.add([((run, kind), 1) for kind in (None, *kinds)])

    def observe(self, run: str | None, values: Mapping[str, float], /) -> None:
        """Add a value of each quantity to the statistics of the run's pass."""
        self._statistics.add([(run, [values])])  # added up in the writer's thread

    def observed(self, run: str | None, name: str, /) -> int:
        """Return how often a quantity was observed in the run's pass; 0 where it cannot be read (counted)."""
        try:
            return statistics.times(self._reader, run, name)
        except sqlite3.Error as error:
            self._writer.count_failed_read(error)
            return 0

    def recall(self, run: str | None, kind: str, key: str, /) -> str | None:
        """Return what was remembered; None where nothing was, or where it cannot be read (counted)."""
        at = (run or DEFAULT_RUN, kind, key)
        if at in self._unsaid:
            return self._unsaid[at]
        try:
            return memories.recall(self._reader, at)
        except sqlite3.Error as error:
            self._writer.count_failed_read(error)
            return None

    def remember(self, run: str | None, kind: str, key: str, value: str, /, *, keep: int | None = None) -> None:
        """Remember a value in place of the one before."""
        at = (run or DEFAULT_RUN, kind, key)

        def said() -> None:
            if self._unsaid.get(at) is value:
                del self._unsaid[at]

        self._unsaid[at] = value
        now = time.time()
        self._writer.submit(
            Job(lambda db: memories.remember(db, at, value, now, keep), len(value), is_log=False, settled=said)
        )
        self._writer.hurry_up()  # the next request may come at once, and to another worker

    async def amend(self, run: str | None, kind: str, key: str, change: Callable[[str | None], str], /) -> str:
        """Replace what is remembered by what `change` makes of it; raises StoreError where that is refused."""
        at = (run or DEFAULT_RUN, kind, key)
        return await self._writer.transact(lambda db: memories.amend(db, at, change, time.time()))

    async def flush(self) -> None:
        """Return when everything so far is written."""
        await self._writer.flush()

    def _there(self, it: Candidate) -> None:
        """Have an answer served that is on its way to the database."""
        at = it.at
        self._front.wrote(at.key)
        if it.replaces:
            self._front.replaces(at)
            self._replacing[at[:3]] = it
            for kept in [kept for kept in list(self._unwritten) if kept[:3] == at[:3]]:
                self._unwritten.pop(kept, None)
        if at.sample is not None and at not in self._unwritten:
            self._unwritten[at] = it

    def _submit(
        self, it: Candidate, write: Callable[[sqlite3.Connection, Candidate], None], held: Callable[[], bool]
    ) -> None:
        """Queue the writing of an answer; `held` says afterwards whether it is no entry by that."""

        def settled() -> None:
            if not held():
                self._written(it)

        owed = partial(free_lease, lease=it.lease) if it.lease is not None else None  # the sample of a lost answer
        job = Job(lambda db: write(db, it), it.size, is_log=False, settled=settled, owed=owed, spare=held)
        self._writer.submit(job)

    def _written(self, it: Candidate) -> None:
        """Have an answer served from the database, or no more where that refused it."""
        if self._unwritten.get(it.at) is it:
            del self._unwritten[it.at]
        if self._replacing.get(it.at[:3]) is it:
            del self._replacing[it.at[:3]]

    def _housekeep(self, connection: sqlite3.Connection) -> None:
        self._bury(connection)
        enforce(connection, self._retention)
        dropped = self._bounds.enforce(connection)
        if dropped:
            self._writer.lost("notes_dropped", dropped)

    def _bury(self, connection: sqlite3.Connection) -> None:
        self._worker.bury(connection)
        self._undecided.look(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection
