"""The one thread that writes to a database: batches from a queue, so that no request waits for a disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from proxy.store.base import Losses

logger = logging.getLogger("evalside.store")

FLUSH_INTERVAL = 0.1
"""Seconds between batches: what a kill -9 can cost at most."""
LOG_BACKLOG = 64 * 1024 * 1024
"""Bytes of queued log rows beyond which new ones are shed."""
CACHE_BACKLOG = 256 * 1024 * 1024
"""Bytes of queued answers beyond which requests wait for the writer."""
HOUSEKEEPING = 60.0
"""Seconds between two rounds of retention."""
_COMPLAIN_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """One write. `is_log` rows may be shed; `settled` is called in the writer thread once it is written or lost."""

    write: Callable[[sqlite3.Connection], None]
    size: int
    is_log: bool
    settled: Callable[[], None] | None = None


class Writer:
    """Owns the writing connection, and the thread it lives in."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], housekeep: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        self._connect = connect
        self._housekeep = housekeep
        self._queue: deque[Job] = deque()
        self._pending = {True: 0, False: 0}  # bytes queued, by is_log
        self._lock = threading.Lock()  # protects _pending and losses, which both threads change
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stopping = False
        self._complained = 0.0
        self._saved = Losses()
        self.losses = Losses()
        self._thread = threading.Thread(target=self._run, name="evalside-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Queue a write; False where it was shed."""
        with self._lock:
            if job.is_log and self._pending[True] > LOG_BACKLOG:
                self.losses.log_rows_shed += 1
                return False
            self._pending[job.is_log] += job.size
        self._queue.append(job)
        self._wake.set()
        return True

    async def room(self) -> None:
        """Wait while answers queue up faster than the disk takes them: cache rows are never shed."""
        while self._pending[False] > CACHE_BACKLOG and self._thread.is_alive():
            await asyncio.sleep(FLUSH_INTERVAL / 4)

    async def flush(self) -> None:
        """Return when everything queued so far is written or lost."""
        loop = asyncio.get_running_loop()
        written = loop.create_future()

        def settle() -> None:
            loop.call_soon_threadsafe(lambda: written.done() or written.set_result(None))

        self.submit(Job(lambda connection: None, 0, is_log=False, settled=settle))
        self._hurry.set()
        await written

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._stopping = True
        self._hurry.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        connection = self._connect()
        housekept = 0.0
        try:
            while not (self._stopping and not self._queue):
                if self._housekeep is not None and time.monotonic() - housekept > HOUSEKEEPING:
                    housekept = time.monotonic()
                    self._guarded(lambda: self._housekeep(connection))  # type: ignore[misc]
                if self._wake.wait(timeout=HOUSEKEEPING):
                    self._hurry.wait(timeout=FLUSH_INTERVAL)
                    self._wake.clear()
                    self._hurry.clear()
                    self._write_all(connection)
        finally:
            connection.close()

    def _write_all(self, connection: sqlite3.Connection) -> None:
        batch = []
        while self._queue:
            batch.append(self._queue.popleft())
        if batch and not self._commit(connection, batch):
            for job in batch:  # one bad row must not take the others with it
                if not self._commit(connection, [job]):
                    self._lose(job)
        with self._lock:
            for job in batch:
                self._pending[job.is_log] -= job.size
        for job in batch:
            if job.settled is not None:
                job.settled()
        self._save_losses(connection)

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        def write() -> None:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                job.write(connection)
            connection.execute("COMMIT")

        if self._guarded(write):
            return True
        if connection.in_transaction:
            self._guarded(lambda: connection.execute("ROLLBACK"))
        return False

    def _guarded(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except (sqlite3.Error, ValueError, OSError) as error:
            with self._lock:
                self.losses.last_error = str(error)
            if time.monotonic() - self._complained > _COMPLAIN_EVERY:
                self._complained = time.monotonic()
                logger.error("the store cannot write: %s; answers go on, what is lost is counted", error)
            return False
        return True

    def _lose(self, job: Job) -> None:
        if job.size == 0:
            return
        with self._lock:
            if job.is_log:
                self.losses.log_rows_lost += 1
            else:
                self.losses.cache_rows_lost += 1

    def _save_losses(self, connection: sqlite3.Connection) -> None:
        """Add what was lost since the last time to the database's own counts, where it can be written again."""
        names = ("log_rows_shed", "log_rows_lost", "cache_rows_lost")
        grown = {name: getattr(self.losses, name) - getattr(self._saved, name) for name in names}
        if not any(grown.values()):
            return
        sql = (
            "INSERT INTO losses (name, rows) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET rows = rows + excluded.rows"
        )
        rows = [(name, count) for name, count in grown.items() if count]
        if self._commit(connection, [Job(lambda open_: open_.executemany(sql, rows) and None, 0, is_log=False)]):
            for name, count in grown.items():
                setattr(self._saved, name, getattr(self._saved, name) + count)
