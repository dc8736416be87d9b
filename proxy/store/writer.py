"""The one thread that writes to a database: batches from a queue, so that no request waits for a disk.

What a request does have to wait for (a lease) is a transaction: it is done at once, ahead of the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from proxy.store.base import LOSSES, Losses, StoreError

logger = logging.getLogger("evalside.store")

FLUSH_INTERVAL = 0.1
"""Seconds between batches: what a kill -9 can cost at most."""
LOG_BACKLOG = 64 * 1024 * 1024
"""Bytes of queued log rows beyond which new ones are shed."""
CACHE_BACKLOG = 256 * 1024 * 1024
"""Bytes of queued answers beyond which requests wait for the writer."""
HOUSEKEEPING = 60.0
"""Seconds between two rounds of retention."""
OWED = 100_000
"""Writes that are kept for later where the database does not take them now; what comes on top is lost."""
_TRIES = 3
"""How often a batch waits out another process's lock before it is given up."""
_RETRY = 1.0
"""Seconds between two tries to write what is owed."""
_PASSING = ("SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_LOCKED", "SQLITE_NOMEM")
"""Errors that may be over the next time."""
_COMPLAIN_EVERY = 10.0

_SAVE_LOSSES = (
    "INSERT INTO losses (name, rows) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET rows = rows + excluded.rows"
)


@dataclass(frozen=True, slots=True)
class Job:
    """One write. `is_log` rows may be shed; `settled` is called in the writer thread once it is written or lost."""

    write: Callable[[sqlite3.Connection], object]
    size: int
    is_log: bool
    settled: Callable[[], object] | None = None
    owed: Callable[[sqlite3.Connection], object] | None = None
    """What has to be written later where the job cannot be written now: it, or what remains of it. In any order."""
    spare: Callable[[], bool] | None = None
    """Returns whether nothing is lost where the job cannot be written."""


T = TypeVar("T")
Q = TypeVar("Q")


class _Transaction(NamedTuple):
    """A write that somebody waits for."""

    write: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]

    def tell(self, value: object, error: Exception | None) -> None:
        """Give the result, or what went wrong, to who waits; its event loop may be gone."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set, value, error)

    def _set(self, value: object, error: Exception | None) -> None:
        if self.result.done():  # who waited has left
            return
        if error is None:
            self.result.set_result(value)
        else:
            self.result.set_exception(StoreError(f"the store cannot be written: {error}"))


class Writer:
    """Owns the writing connection, and the thread it lives in.

    Args:
        housekeep: called from time to time with the connection, in autocommit.
    """

    def __init__(self, housekeep: Callable[[sqlite3.Connection], object]) -> None:
        self._housekeep = housekeep
        self._queue: deque[Job] = deque()
        self._transactions: deque[_Transaction] = deque()
        self._owed: deque[Callable[[sqlite3.Connection], object]] = deque()
        self._pending = {True: 0, False: 0}  # bytes queued, by is_log
        self._lock = threading.Lock()  # protects _pending, losses and _saved
        self._wake = threading.Event()
        self._armed = False  # the thread knows of the queue, and will look at it when it is due
        self._due = 0.0  # of the monotonic clock, while it is armed
        self._hurry = False
        self._stopping = False
        self._complained: float | None = None
        self._saved = Losses()
        self.losses = Losses()
        self._thread: threading.Thread | None = None

    def start(self, connection: sqlite3.Connection) -> None:
        """Start the thread, which closes `connection` when it ends."""
        self._thread = threading.Thread(target=self._run, args=[connection], name="evalside-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Queue a write; False where it was shed."""
        with self._lock:
            if job.is_log and self._pending[True] > LOG_BACKLOG:
                self.losses.log_rows_shed += 1
                return False
            self._pending[job.is_log] += job.size
        self._queue.append(job)
        if not self._armed:  # not at once: the first row of a quiet moment would hold up the request behind it
            self._due = time.monotonic() + FLUSH_INTERVAL
            self._armed = True
            self._wake.set()
        return True

    def transact(self, write: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Return what `write` returns once it is committed; it does not wait for the queue, unless that is in a hurry.

        Raises:
            StoreError: the database refused it.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._transactions.append(_Transaction(write, loop, result))
        self._wake.set()
        return result

    async def room(self) -> None:
        """Wait while answers queue up faster than the disk takes them: cache rows are never shed."""
        while self._pending[False] > CACHE_BACKLOG:
            self.hurry_up()
            await asyncio.sleep(FLUSH_INTERVAL / 4)

    async def flush(self) -> None:
        """Return when everything queued so far is written or lost."""
        loop = asyncio.get_running_loop()
        written = asyncio.Event()
        self.submit(Job(_nothing, 0, is_log=False, settled=lambda: loop.call_soon_threadsafe(written.set)))
        self.hurry_up()
        await written.wait()

    def hurry_up(self) -> None:
        """Have what is queued written now, before any transaction that is begun after this."""
        self._hurry = True
        self._wake.set()

    def unsaved(self) -> dict[str, int]:
        """Return the losses that the database's own counts do not hold yet, by name."""
        with self._lock:
            return {name: getattr(self.losses, name) - getattr(self._saved, name) for name in LOSSES}

    def count_failed_read(self, error: Exception) -> None:
        """Count an answer that is there and could not be read."""
        self.lost("cache_reads_failed")
        self._complain("read", error)

    def lost(self, name: str, count: int = 1) -> None:
        """Count losses of a kind."""
        with self._lock:
            setattr(self.losses, name, getattr(self.losses, name) + count)

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, connection: sqlite3.Connection) -> None:
        housekept = time.monotonic() - HOUSEKEEPING
        while not (self._stopping and not self._queue and not self._transactions):
            now = time.monotonic()
            if now - housekept >= HOUSEKEEPING:
                housekept = now
                self._guarded(lambda: self._housekeep(connection))
            self._wake.wait(timeout=max(0.0, self._due - now) if self._armed else HOUSEKEEPING)
            self._wake.clear()
            transactions = _emptied(self._transactions)
            if not self._hurry:
                self._transact_all(connection, transactions)
                transactions = []
            if self._hurry or self._stopping or (self._armed and time.monotonic() >= self._due):
                self._hurry = self._armed = False  # before the queue is emptied: what comes now arms it anew
                self._write_all(connection)
                if self._owed:
                    self._due = time.monotonic() + _RETRY
                    self._armed = True
            self._transact_all(connection, transactions)
        self._pay(connection)
        self.lost("notes_lost", len(self._owed))
        self._guarded(connection.close)

    def _transact_all(self, connection: sqlite3.Connection, batch: list[_Transaction]) -> None:
        """Commit the transactions together; where one fails, each alone."""
        if not batch:
            return
        results: list[Any] = []
        error = self._commit(connection, [Job(_recorded(item, results), 0, is_log=False) for item in batch])
        if error is None:
            for item, result in zip(batch, results, strict=True):
                item.tell(result, None)
        elif len(batch) == 1 or _is_locked(error):  # each alone would wait as long as all together
            for item in batch:
                item.tell(None, error)
        else:
            for item in batch:
                self._transact_all(connection, [item])

    def _write_all(self, connection: sqlite3.Connection) -> None:
        self._pay(connection)
        batch = _emptied(self._queue)
        if batch:
            self._write_batch(connection, batch)
        with self._lock:
            for job in batch:
                self._pending[job.is_log] -= job.size
        self._save_losses(connection)
        for job in batch:
            if job.settled is not None:
                self._guarded(job.settled)  # its event loop may be gone

    def _write_batch(self, connection: sqlite3.Connection, batch: list[Job]) -> None:
        error = self._commit(connection, batch)
        tries = 1
        while _is_locked(error) and tries < _TRIES and not self._stopping:
            error = self._commit(connection, batch)
            tries += 1
        if error is None:
            return
        alone = not _is_locked(error)  # one bad row must not take the others with it
        for job in batch:
            wrong = self._commit(connection, [job]) if alone else error
            if wrong is not None:
                self._lose(job, wrong)

    def _pay(self, connection: sqlite3.Connection) -> None:
        """Write what is owed: all together, else one after the other until the database refuses again."""
        owed = [Job(write, 0, is_log=False) for write in _emptied(self._owed)]
        error = self._commit(connection, owed) if owed else None
        if error is None:
            return
        for number, job in enumerate(owed):
            if not _passes(error):  # of all together: one of them is wrong in itself
                error = self._commit(connection, [job])
            if _passes(error):
                self._owed.extend(job.write for job in owed[number:])
                return
            if error is not None:
                self.lost("notes_lost")

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job]) -> Exception | None:
        """Write `jobs` in one transaction; return what went wrong."""

        def write() -> None:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.write(connection)
            connection.execute("COMMIT")

        error = self._guarded(write)
        if connection.in_transaction:
            self._guarded(lambda: connection.execute("ROLLBACK"))
        return error

    def _guarded(self, step: Callable[[], object]) -> Exception | None:
        """Run `step`; return what it raised. Nothing may end this thread: the store would stop without a word."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - returned, counted and logged
            self._complain("write", error)
            return error
        return None

    def _complain(self, what: str, error: Exception) -> None:
        self.losses.last_error = str(error) or repr(error)
        now = time.monotonic()
        if self._complained is None or now - self._complained > _COMPLAIN_EVERY:
            self._complained = now
            logger.error("the store cannot %s: %s; answers go on, what is lost is counted", what, error)

    def _lose(self, job: Job, error: Exception) -> None:
        if job.write is _nothing or (job.spare is not None and job.spare()):
            return
        whole = job.owed is job.write
        if job.owed is not None and (_passes(error) or not whole) and len(self._owed) < OWED:
            self._owed.append(job.owed)
            if whole:
                return
        elif job.owed is not None:
            self.lost("notes_lost")
        if not whole:
            self.lost("log_rows_lost" if job.is_log else "cache_rows_lost")

    def _save_losses(self, connection: sqlite3.Connection) -> None:
        """Add what was lost since the last time to the database's own counts, where it can be written again."""
        grown = {name: count for name, count in self.unsaved().items() if count}
        if not grown:
            return
        if self._commit(connection, [Job(lambda db: db.executemany(_SAVE_LOSSES, grown.items()), 0, False)]) is None:
            with self._lock:
                for name, count in grown.items():
                    setattr(self._saved, name, getattr(self._saved, name) + count)


def _emptied(queue: deque[Q]) -> list[Q]:
    """Take out what is in a queue now; others append to it meanwhile."""
    taken = []
    while queue:
        taken.append(queue.popleft())
    return taken


def _recorded(transaction: _Transaction, results: list[Any]) -> Callable[[sqlite3.Connection], None]:
    def write(connection: sqlite3.Connection) -> None:
        results.append(transaction.write(connection))

    return write


def _nothing(connection: sqlite3.Connection) -> None:
    """Write nothing: the job only marks a place in the queue."""


def _is_locked(error: Exception | None) -> bool:
    return _name(error).startswith("SQLITE_BUSY")


def _passes(error: Exception | None) -> bool:
    return _name(error).startswith(_PASSING)


def _name(error: Exception | None) -> str:
    """Return SQLite's name of an error, empty for one that is not SQLite's."""
    return str(getattr(error, "sqlite_errorname", ""))
