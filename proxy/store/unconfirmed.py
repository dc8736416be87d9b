"""Answers that are no entries yet, because their model server was not seen again since.

They have a table of their own: nothing serves, counts or exports what is in it. Most are decided on before the writer
comes to them, and are never in it. What a process leaves there is decided on by one that comes after it.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import orjson
from sqlite_utils import Database

from proxy.store import samples
from proxy.store.base import Asker, Candidate, EntryKey, Lease, Sequence
from proxy.store.codec import pack, pack_headers, unpack
from proxy.store.rows import COLUMNS, move_response, read_response, write_response
from proxy.store.workers import NAME, Worker
from proxy.store.writer import FLUSH_INTERVAL

PATIENCE = 5.0
"""Seconds that a new pass waits for decisions on the answers of the one before."""
_PAUSE = 0.02
_HOLD = """INSERT OR REPLACE INTO unconfirmed
(name, key, pool, sample, shape, route, status, upstream_ms, created_at, size, headers, request, body, run, "pass",
identity, asked, prompt, model, client, received, holder, used, replaces)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_FORGET = "DELETE FROM unconfirmed WHERE name = ?"
_LEFT = "SELECT name, model, client FROM unconfirmed"
_OF_RUN = f"SELECT DISTINCT substr(name, 1, {NAME}) FROM unconfirmed WHERE run = ?"
_OF_ASKER = "SELECT name, identity FROM unconfirmed WHERE model IS ? AND client = ? ORDER BY rowid"
_ROW = f"""SELECT key, pool, sample, shape, received, holder, used, replaces, "pass", {COLUMNS}
FROM unconfirmed WHERE name = ?"""


class Unconfirmed:
    """The answers of this process that are not decided on, and those that others left."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # between a decision and the writer's coming to the answer
        self._elsewhere: set[str] = set()  # what model servers gave of which nothing is known here, and never will be
        self.left: frozenset[Asker] = frozenset()
        """Who can decide on what others left."""

    def decide(self, it: Candidate, *, kept: bool) -> bool:
        """Note a decision; return whether it is still to be carried out, because the writer has been there already."""
        with self._lock:
            it.kept = kept
            return bool(it.name)

    def write(self, connection: sqlite3.Connection, it: Candidate) -> None:
        """Write an answer, in a transaction of the writer: as an entry where that is decided by now."""
        if not self.waits(it):
            finish(connection, it)
        elif it.kept is None:
            _hold(connection, it)

    def waits(self, it: Candidate) -> bool:
        """Return whether the writer, which has come to the answer, leaves it to the decision what becomes of it.

        That may be without any attempt to write it, where not even a transaction could be begun.
        """
        with self._lock:
            if it.name is None:
                it.name = f"{self._worker.name}-{next(self._numbers)}" if it.kept is None else ""
            return bool(it.name)

    def look(self, connection: sqlite3.Connection) -> None:
        """Find out what others left that are gone."""
        rows = connection.execute(_LEFT).fetchall()
        self._elsewhere.intersection_update(row[0] for row in rows)
        gone = self._worker.gone({row[0][:NAME] for row in rows} - {self._worker.name})
        left = [row for row in rows if row[0][:NAME] in gone and row[0] not in self._elsewhere]
        self.left = frozenset(Asker(model, client) for _, model, client in left)

    async def decided(self, connection: sqlite3.Connection, run: str) -> None:
        """Return when no process has an answer of a run that is not decided on, or after `PATIENCE` seconds."""
        if not self._worker.alone:
            await asyncio.sleep(FLUSH_INTERVAL)  # others may have some that are not written yet
        with suppress(TimeoutError, sqlite3.Error):
            async with asyncio.timeout(PATIENCE):
                while self._busy(connection, run):  # noqa: ASYNC110 - another process may be the one that decides
                    await asyncio.sleep(_PAUSE)

    def _busy(self, connection: sqlite3.Connection, run: str) -> bool:
        names = {row[0] for row in connection.execute(_OF_RUN, (run,))}
        return names != self._worker.gone(names)

    def adopt(
        self, connection: sqlite3.Connection, asker: Asker, identity: str, knows: Callable[[str], bool]
    ) -> Counter[str]:
        """Decide on what others left, in a transaction of the writer; return what was lost, by its name."""
        rows = connection.execute(_OF_ASKER, asker).fetchall()
        gone = self._worker.gone({name[:NAME] for name, _ in rows})
        lost: Counter[str] = Counter()
        for name, gave in rows:
            if name[:NAME] not in gone:
                continue
            if gave == identity or knows(gave):
                lost.update(_adopt(connection, name, asker, kept=gave == identity))
            else:
                self._elsewhere.add(name)
        self.left -= {asker}
        return lost


def finish(connection: sqlite3.Connection, it: Candidate) -> None:
    """Carry out a decision, in a transaction of the writer."""
    lease, kept = it.lease, bool(it.kept)
    held = lease is None or samples.settle(connection, lease, used=it.used and kept) or not lease.holder
    # Else the pass or the run that it was for has ended. Where its row could not be written, it is written now.
    if kept and held and not (it.name and move_response(connection, it.at, it.name, replace=it.replaces)):
        write_response(connection, it.at, it.response, replace=it.replaces)
    if it.name:
        connection.execute(_FORGET, (it.name,))


def free_lease(connection: sqlite3.Connection, lease: Lease) -> None:
    """Give back the sample of an answer that could not be written."""
    samples.settle(connection, lease, used=False)


def _hold(connection: sqlite3.Connection, it: Candidate) -> None:
    response, lease = it.response, it.lease
    packed = pack_headers(response.headers), pack(response.request), pack(response.body)
    connection.execute(
        _HOLD,
        (
            it.name,
            *it.at,
            response.route,
            response.status,
            response.upstream_ms,
            response.created_at,
            sum(len(part or b"") for part in packed),
            *packed,
            response.run,
            samples.run_state(connection, response.run).number,
            response.source.identity,
            orjson.dumps(response.source).decode(),
            response.prompt,
            *it.asker,
            lease.of.received if lease is not None else None,
            lease.holder if lease is not None else None,
            it.used,
            it.replaces,
        ),
    )


def _adopt(connection: sqlite3.Connection, name: str, asker: Asker, *, kept: bool) -> list[str]:
    """Decide on one answer; return what was lost, by its name."""
    key, pool, sample, shape, received, holder, used, replaces, number, *row = connection.execute(
        _ROW, (name,)
    ).fetchone()
    run = row[COLUMNS.split(", ").index("run")]
    lease = None if received is None else Lease(Sequence(run, received, key), sample, (pool,), holder)
    try:
        response = read_response(row)
    except ValueError:
        connection.execute(_FORGET, (name,))
        if lease is not None:
            free_lease(connection, lease)
        return ["cache_reads_failed"]
    at = EntryKey(key, pool, sample, shape)
    finish(connection, Candidate(at, response, asker, lease, bool(used), bool(replaces), kept, name))
    if kept and sample is not None:
        samples.count(connection, run, (key, pool, sample), asked=1, served=0, number=number)
    return [] if kept else ["answers_unconfirmed"]


def waiting(db: Database, prompt: bytes, request: bytes) -> int:
    """Return how many answers to a request are not decided on; its prompt's hash finds them."""
    if not db.table("unconfirmed").exists():
        return 0  # a store that an early version made
    rows = db.execute("SELECT request FROM unconfirmed WHERE prompt = ?", [prompt]).fetchall()
    return sum(_is(row[0], request) for row in rows)


def _is(packed: bytes, request: bytes) -> bool:
    try:
        return unpack(packed) == request
    except ValueError:  # damaged
        return False
