"""What is in the store, for people: counts, lists, single entries, and what may be deleted."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from proxy.store import samples
from proxy.store.base import StoreError
from proxy.store.codec import unpack, unpack_headers

STEP = 500
"""Rows deleted in one transaction, so that a running sidecar never waits long."""

_BUSY = 30.0
"""Seconds to wait for another process's transaction."""
_FACTS = "hex(key) AS key, pool, sample, shape, route, status, run, identity, created_at, upstream_ms, size"
_IN_POOLS = "(pool = :run OR (pool >= :run || '/' AND pool < :run || '0'))"
_OF_RUN = f"""({_IN_POOLS} OR EXISTS (SELECT 1 FROM uses WHERE uses.run = :run AND uses.key = responses.key
AND uses.pool = responses.pool AND uses.sample = responses.sample))"""
_BY = """SELECT {column} AS {column}, count(*) AS entries, sum(size) AS bytes FROM responses
GROUP BY {column} ORDER BY entries DESC, {column}"""
_RUNS = """SELECT run, source, coalesce("pass", 0) AS "pass", bundle IS NOT NULL AS imported,
coalesce(entries, 0) AS samples, coalesce(asked, 0) AS asked, coalesce(served, 0) AS served
FROM (SELECT run FROM runs UNION SELECT run FROM uses)
LEFT JOIN (SELECT run, sum(asked) AS asked, sum(served) AS served FROM uses GROUP BY run) USING (run)
LEFT JOIN (SELECT CASE instr(pool, '/') WHEN 0 THEN pool ELSE substr(pool, 1, instr(pool, '/') - 1) END AS run,
  count(*) AS entries FROM responses WHERE pool != '' GROUP BY 1) USING (run)
LEFT JOIN runs USING (run) ORDER BY run"""
_SHOWN_KEYS = 3


def stats(db: Database) -> dict[str, Any]:
    """Return counts of everything: answers by route, identity and kind, runs with their use of them, losses.

    `unconfirmed` are answers that are no entries yet, and in no other count.

    Times are seconds since the epoch, sizes bytes as stored. `served` counts hits, `asked` answers that the model
    server gave.
    """
    [whole] = _dicts(
        db,
        "SELECT count(*) AS entries, coalesce(sum(size), 0) AS bytes, coalesce(sum(pool = ''), 0) AS pooled,"
        " coalesce(sum(pool != ''), 0) AS sampled, min(created_at) AS oldest, max(created_at) AS newest FROM responses",
    )
    whole["unconfirmed"] = db.execute("SELECT count(*) FROM unconfirmed").fetchone()[0]
    runs = [{**run, "imported": bool(run["imported"])} for run in _dicts(db, _RUNS)]
    return {
        **whole,
        "asked": sum(run["asked"] for run in runs),
        "served": sum(run["served"] for run in runs),
        "routes": _dicts(db, _BY.format(column="route")),
        "identities": _dicts(db, _BY.format(column="identity")),
        "runs": runs,
        "losses": {row["name"]: row["rows"] for row in _dicts(db, "SELECT name, rows FROM losses ORDER BY name")},
    }


def entries(db: Database, *, run: str | None, route: str | None, limit: int) -> list[dict[str, Any]]:
    """Return facts of answers, newest first; of a run those that it used or keeps."""
    where = ["1"]
    if run is not None:
        where.append(_OF_RUN)
    if route is not None:
        where.append("route = :route")
    sql = f"SELECT {_FACTS} FROM responses WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"
    return [_lower(row) for row in _dicts(db, sql, {"run": run, "route": route, "limit": limit})]


def entry(db: Database, prefix: str) -> list[dict[str, Any]]:
    """Return every answer kept under the one key that begins with `prefix` (hexadecimal), with its bodies as text.

    Raises:
        StoreError: no key begins so, or more than one does.
    """
    wanted = prefix.lower()
    if not wanted or len(wanted) > 64 or set(wanted) - set("0123456789abcdef"):
        raise StoreError(f"'{prefix}' is not the beginning of a key: up to 64 hexadecimal digits")
    span = bytes.fromhex(wanted.ljust(64, "0")), bytes.fromhex(wanted.ljust(64, "f"))
    keys = db.execute(
        f"SELECT DISTINCT key FROM responses WHERE key BETWEEN ? AND ? LIMIT {_SHOWN_KEYS + 1}", span
    ).fetchall()
    if not keys:
        raise StoreError(f"no answer has a key that begins with '{prefix}'; 'evalside cache ls' lists them")
    if len(keys) > 1:
        shown = ", ".join(row[0].hex()[: len(wanted) + 8] + "…" for row in keys[:_SHOWN_KEYS])
        more = ", …" if len(keys) > _SHOWN_KEYS else ""
        raise StoreError(f"'{prefix}' is ambiguous: keys begin with {shown}{more}; give more digits")
    sql = f"SELECT {_FACTS}, headers, request, body FROM responses WHERE key = ? ORDER BY pool, sample, shape"
    found = []
    for row in _dicts(db, sql, [keys[0][0]]):
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in unpack_headers(row["headers"])]
        bodies = {name: unpack(row[name]).decode("utf-8", "replace") for name in ("request", "body")}
        found.append({**_lower(row), "headers": headers, **bodies})
    return found


def _dicts(db: Database, sql: str, values: Any = ()) -> list[dict[str, Any]]:
    return [dict(row) for row in db.execute(sql, values).fetchall()]


def _lower(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "key": row["key"].lower()}


@dataclass(frozen=True, slots=True)
class Prune:
    """What to delete: a whole run, or answers by age and identity, or the oldest until the others fit."""

    run: str | None = None
    older_than: float | None = None
    """Seconds."""
    identity: str | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be."""

    entries: int
    bytes: int
    exchanges: int
    """Rows of the log; only those of a run go."""


def prunable(path: Path, wanted: Prune) -> Pruned:
    """Return what `prune` would delete now. Raises StoreError as it does."""
    with _open(path) as connection:
        if wanted.run is not None:
            _check_run(connection, wanted.run)
        where, values = _condition(connection, wanted)
        entries, size = connection.execute(
            f"SELECT count(*), coalesce(sum(size), 0) FROM responses WHERE {where}", values
        ).fetchone()
        exchanges = connection.execute("SELECT count(*) FROM exchanges WHERE run = ?", (wanted.run,)).fetchone()[0]
        return Pruned(entries, size, exchanges)


def prune(path: Path, wanted: Prune) -> Pruned:
    """Delete answers from a database that may be in use, and return what went.

    Raises:
        StoreError: the run is unknown or another was made from it, or the database cannot be written.
    """
    gone = prunable(path, wanted)
    with _open(path) as connection:
        if wanted.run is not None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                samples.delete_run(connection, wanted.run)
            except ValueError as error:
                raise StoreError(str(error)) from None
            connection.execute("COMMIT")
            return gone
        where, values = _condition(connection, wanted)
        sql = f"DELETE FROM responses WHERE id IN (SELECT id FROM responses WHERE {where} LIMIT {STEP})"
        while connection.execute(sql, values).rowcount == STEP:
            pass
        if wanted.max_bytes is None:
            connection.execute(f"DELETE FROM unconfirmed WHERE {where}", values)
    return gone


def _check_run(connection: sqlite3.Connection, run: str) -> None:
    tables = ("runs", "uses", "exchanges")
    sql = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE run = :run" for table in tables)
    if connection.execute(f"{sql} LIMIT 1", {"run": run}).fetchone() is None:
        raise StoreError(f"the store has no run '{run}'; 'evalside cache stats' lists the runs")


def _condition(connection: sqlite3.Connection, wanted: Prune) -> tuple[str, dict[str, Any]]:
    """Return which rows of `responses` are meant, in SQL. Rows that come later are not."""
    if wanted.run is not None:
        return _IN_POOLS, {"run": wanted.run}
    if wanted.max_bytes is not None:
        kept = "SELECT id, sum(size) OVER (ORDER BY id DESC) AS kept FROM responses"
        last = connection.execute(f"SELECT max(id) FROM ({kept}) WHERE kept > ?", (wanted.max_bytes,)).fetchone()[0]
        return "id <= :last", {"last": last}
    where = ["1"]
    values: dict[str, Any] = {}
    if wanted.older_than is not None:
        where.append("created_at < :before")
        values["before"] = time.time() - wanted.older_than
    if wanted.identity is not None:
        where.append("identity = :identity")
        values["identity"] = wanted.identity
    return " AND ".join(where), values


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"store: {path} cannot be used ({error}); try again when nothing else writes to it") from None
