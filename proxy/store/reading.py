"""Queries for the admin routes: off the hot path, through sqlite-utils, on a read-only connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from proxy.store.base import StoreError
from proxy.store.codec import unpack, unpack_headers

_SUMMARY = (
    'seq, id, run, "pass", started_at, method, path, route, status, cache, cache_key, sample, reason, outcome, error,'
    " duration_ms, upstream_ms"
)
_HEADERS = ("request_headers", "response_headers")
COUNTED = ("status", "cache", "outcome", "error")
"""What a run's exchanges are counted by."""
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_BODIES = ("request_body", "sent_body", "response_body")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which exchanges to list; None does not restrict."""

    run: str | None = None
    status: int | None = None
    cache: str | None = None
    q: str | None = None
    """Text in the path, the error code or the key."""


@contextmanager
def reading(path: Path) -> Iterator[Database]:
    """Open the database for reading.

    Raises:
        StoreError: it cannot be read, or not all of it.
    """
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        with closing(connection):
            yield Database(connection)
    except sqlite3.Error as error:
        raise StoreError(f"store: {path} cannot be read ({error}); {_way_out(error)}") from None


def _way_out(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(_DAMAGED):
        return "move it aside and put a copy in its place, or name another; 'sqlite3 FILE .recover' prints what is left"
    if name == "SQLITE_ERROR":  # a table or column is missing
        return (
            "it is no store of this version; name another, or have a sidecar open it once, which brings it up to date"
        )
    return "try again when nothing else works on it, or name another"


def exchanges(db: Database, wanted: Filter, *, limit: int, cursor: int | None) -> dict[str, Any]:
    """Return `{"items": […], "next": cursor or null}`, newest first."""
    where, values = ["1"], []
    for column in ("run", "status", "cache"):
        value = getattr(wanted, column)
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    if wanted.q is not None:
        where.append("(instr(path, ?) OR instr(coalesce(error, ''), ?) OR instr(coalesce(cache_key, ''), ?))")
        values += [wanted.q] * 3
    if cursor is not None:
        where.append("seq < ?")
        values.append(cursor)
    sql = f"SELECT {_SUMMARY} FROM exchanges WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
    rows = [dict(row) for row in db.execute(sql, [*values, limit + 1]).fetchall()]
    more = len(rows) > limit
    items = rows[:limit]
    return {
        "items": [{name: value for name, value in item.items() if name != "seq"} for item in items],
        "next": items[-1]["seq"] if more else None,
    }


def exchange_row(db: Database, exchange_id: str) -> dict[str, Any] | None:
    """Return one exchange as its row has it, None where there is none."""
    row = db.execute("SELECT * FROM exchanges WHERE id = ?", [exchange_id]).fetchone()
    return None if row is None else dict(row)


def exchange_ids(db: Database, beginning: str, *, limit: int) -> list[str]:
    """Return the IDs of exchanges that begin so."""
    sql = "SELECT id FROM exchanges WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
    return [row[0] for row in db.execute(sql, [beginning, beginning + "\x7f", limit]).fetchall()]


def exchange(db: Database, exchange_id: str) -> dict[str, Any] | None:
    """Return one exchange with its headers and bodies as text, None where there is none."""
    row = exchange_row(db, exchange_id)
    if row is None:
        return None
    found = {name: value for name, value in row.items() if name not in {"seq", "size"}}
    for name in _HEADERS:
        if found[name] is not None:
            found[name] = [
                [key.decode("latin-1"), value.decode("latin-1")] for key, value in unpack_headers(found[name])
            ]
    found["changes"] = [] if found["changes"] is None else json.loads(unpack(found["changes"]))
    for name in _BODIES:
        if found[name] is not None:
            found[name] = unpack(found[name]).decode("utf-8", "replace")
    return found


def runs(db: Database) -> list[dict[str, Any]]:
    """Return every run with its number of exchanges and their first and last time (seconds since the epoch)."""
    sql = """SELECT run, count(*) AS exchanges, min(started_at) AS first_at, max(started_at) AS last_at
    FROM exchanges GROUP BY run ORDER BY last_at DESC"""
    return [dict(row) for row in db.execute(sql).fetchall()]


def run_summary(db: Database, run: str, number: int | None = None) -> dict[str, Any] | None:
    """Return a run's counts by status, cache, outcome and error, of one pass or of all; None where it has no exchange.

    Reads the run's rows through their index.
    """
    where = "run = ?"
    values: list[Any] = [run]
    if db.execute(f"SELECT 1 FROM exchanges WHERE {where} LIMIT 1", values).fetchone() is None:
        return None
    if number is not None:
        where += ' AND "pass" = ?'
        values.append(number)
    return {
        "run": run,
        "exchanges": db.execute(f"SELECT count(*) FROM exchanges WHERE {where}", values).fetchone()[0],
        **{column: _counts(db, column, where, values) for column in COUNTED},
    }


def _counts(db: Database, column: str, where: str, values: list[Any]) -> dict[str, int]:
    sql = f"SELECT {column}, count(*) FROM exchanges WHERE {where} AND {column} IS NOT NULL GROUP BY {column}"
    return {str(value): count for value, count in db.execute(sql, values).fetchall()}


def losses(db: Database) -> dict[str, int]:
    """Return how many rows could not be written since the database was made, by kind."""
    return {str(name): int(rows) for name, rows in db.execute("SELECT name, rows FROM losses").fetchall()}
