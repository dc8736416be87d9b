"""The SQLite store: inline reads on a kept connection, every write through the writer thread."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

from proxy.store.base import DEFAULT_RUN, EntryKey, ExchangeRecord, Losses, StoredResponse, StoreError
from proxy.store.codec import pack, pack_headers, pack_optional, unpack, unpack_headers
from proxy.store.location import folder_lock, prepare_file
from proxy.store.retention import Retention, enforce
from proxy.store.schema import migrate, refuse_unknown
from proxy.store.writer import Job, Writer

_BUSY = 10.0
"""Seconds a connection waits for another process's transaction."""

_GET = """SELECT status, headers, body, route, request, upstream_ms, created_at FROM responses
WHERE key = ? AND pool = ? AND sample = ? AND shape = ?"""
_NEXT_SAMPLE = "SELECT coalesce(max(sample) + 1, 0) FROM responses WHERE key = ? AND pool = ?"
_PUT = """INSERT INTO responses
(key, pool, sample, shape, route, status, upstream_ms, created_at, size, headers, request, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, pool, sample, shape) DO NOTHING"""
_APPEND = """INSERT OR IGNORE INTO exchanges
(id, run, started_at, method, path, route, status, cache, cache_key, sample, outcome, error, duration_ms, upstream_ms,
size, request_headers, request_body, sent_body, response_headers, response_body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class SqliteStore:
    """A `ResponseStore` and an `ExchangeLog` in one file.

    Args:
        path: the database file; it and its folder are created for their owner alone.
        retention: what may be deleted.

    Raises (from `open`):
        StoreError: the file cannot be used; it is left as it was.
    """

    def __init__(self, path: Path, retention: Retention = Retention()) -> None:  # noqa: B008 - frozen
        self.path = path
        self._unwritten: dict[EntryKey, StoredResponse] = {}
        self._writer = Writer(lambda connection: enforce(connection, retention))

    def open(self) -> None:
        """Check, create or migrate the file, and start the writer."""
        prepare_file(self.path)
        try:
            with folder_lock(self.path), closing(self._connect()) as connection:
                refuse_unknown(connection, str(self.path))
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection)
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only = 1")
            self._writer.start(self._connect())
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"store: {self.path} cannot be used ({error}); stop what else holds it or make room on its disk, or"
                " name another file in 'store'. Nothing was changed."
            ) from None
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"store: {self.path} is not usable ({error}); move it aside, or name another file in 'store'."
                " Nothing was changed."
            ) from None

    def close(self) -> None:
        """Write what is queued and close every connection."""
        self._writer.close()
        self._reader.close()

    @property
    def losses(self) -> Losses:
        """What could not be written or read, in this process."""
        return self._writer.losses

    def unsaved_losses(self) -> dict[str, int]:
        """Return this process's losses that `reading.losses` does not show yet, by name."""
        return self._writer.unsaved()

    async def get(self, at: EntryKey, /) -> StoredResponse | None:
        """Return the answer kept there; None where there is none, or where it cannot be read (counted)."""
        await self._writer.room()
        unwritten = self._unwritten.get(at)
        if unwritten is not None:
            return unwritten
        try:
            row = self._reader.execute(_GET, at).fetchone()
            return None if row is None else _response(*row)
        except (sqlite3.Error, ValueError) as error:
            self._writer.count_failed_read(error)
            return None

    def put(self, at: EntryKey, response: StoredResponse, /) -> None:
        """Keep an answer; what is there already stays."""
        settled = None
        if at.sample is not None:
            self._unwritten.setdefault(at, response)
            settled = partial(self._unwritten.pop, at, None)
        size = len(response.body) + len(response.request)
        self._writer.submit(Job(lambda connection: _put(connection, at, response), size, is_log=False, settled=settled))

    def append(self, record: ExchangeRecord, /) -> None:
        """Keep a record of an exchange, unless the writer is too far behind."""
        bodies = (record.request_body, record.sent_body, record.response_body)
        size = sum(len(body) for body in bodies if body is not None) + 512
        self._writer.submit(Job(lambda connection: _append(connection, record), size, is_log=True))

    async def flush(self) -> None:
        """Return when everything so far is written."""
        await self._writer.flush()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def _response(  # noqa: PLR0913, PLR0917 - the columns of _GET
    status: int, headers: bytes, body: bytes, route: str, request: bytes, upstream_ms: float, created_at: float
) -> StoredResponse:
    return StoredResponse(
        status, unpack_headers(headers), unpack(body), route, unpack(request), upstream_ms, created_at
    )


def _put(connection: sqlite3.Connection, at: EntryKey, response: StoredResponse) -> None:
    packed = pack_headers(response.headers), pack(response.request), pack(response.body)
    size = sum(len(part or b"") for part in packed)
    facts = (response.route, response.status, response.upstream_ms, response.created_at)
    key, pool, sample, shape = at
    if sample is None:
        sample = connection.execute(_NEXT_SAMPLE, (key, pool)).fetchone()[0]
    connection.execute(_PUT, (key, pool, sample, shape, *facts, size, *packed))


def _append(connection: sqlite3.Connection, record: ExchangeRecord) -> None:
    packed = (
        pack_headers(record.request_headers),
        pack_optional(record.request_body),
        pack_optional(record.sent_body),
        pack_headers(record.response_headers),
        pack_optional(record.response_body),
    )
    connection.execute(
        _APPEND,
        (
            record.id,
            record.run or DEFAULT_RUN,
            record.started_at,
            record.method,
            record.path,
            record.route,
            record.status,
            record.cache,
            record.cache_key,
            record.sample,
            record.outcome,
            record.error,
            record.duration_ms,
            record.upstream_ms,
            sum(len(part or b"") for part in packed),
            *packed,
        ),
    )
