"""Runs as they stand: which there are, on which pass, and how the next one begins."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from proxy.store.samples import delete_run, new_pass, run_state

_EXISTS = " OR ".join(
    f"EXISTS (SELECT 1 FROM {table} WHERE run = :run)" for table in ("runs", "exchanges", "statistics", "memory")
)
_BEGINNING = """SELECT run FROM runs WHERE run >= :from AND run < :to
UNION SELECT run FROM exchanges WHERE run >= :from AND run < :to ORDER BY run LIMIT :limit"""
_IDENTITIES = "SELECT run, identity, server, facts, first_at FROM run_identities WHERE run = ? ORDER BY first_at"


class NewPass(NamedTuple):
    """What a pass begins with."""

    source: str | None = None
    """The run whose samples are replayed first."""
    mode: str | None = None
    """Cache mode of the run; None leaves it as it is."""
    number: int = 0
    """At least this one: stores that are used together count together."""


def exists(db: sqlite3.Connection | Database, run: str) -> bool:
    """Return whether the run has been made, or anything was asked in it."""
    return bool(db.execute(f"SELECT {_EXISTS}", {"run": run}).fetchone()[0])


def beginning(db: Database, text: str, *, limit: int) -> list[str]:
    """Return the names of runs that begin so."""
    found = db.execute(_BEGINNING, {"from": text, "to": text + "\x7f", "limit": limit}).fetchall()
    return [str(row[0]) for row in found]


def heirs(db: sqlite3.Connection | Database, run: str) -> list[str]:
    """Return the runs that were made from this one."""
    return [row[0] for row in db.execute("SELECT run FROM runs WHERE source = ? ORDER BY run", [run]).fetchall()]


def begin(connection: sqlite3.Connection, run: str, wanted: NewPass) -> int | None:
    """Begin the run's next pass, in a transaction of the writer; return its number.

    None where a source is wanted and the run is there already: what it has cannot be replaced by another's.
    """
    used = exists(connection, run)
    if used and wanted.source is not None:
        return None
    made = connection.execute("SELECT 1 FROM runs WHERE run = ?", (run,)).fetchone() is not None
    number = new_pass(connection, run, source=wanted.source, mode=wanted.mode).number
    if used and not made:
        number += 1  # what has been logged so far was a pass, though it took no sample
    number = max(number, wanted.number)
    connection.execute("UPDATE runs SET pass = ? WHERE run = ?", (number, run))
    return number


def remove(connection: sqlite3.Connection, run: str) -> int | None:
    """Delete the run, in a transaction of the writer; return how many answers went, None where it has heirs."""
    return None if heirs(connection, run) else delete_run(connection, run)


def state(dbs: Sequence[Database], run: str) -> dict[str, Any]:
    """Return `{"pass", "from", "mode", "mixed", "identities"}`; of a run that is not there, a new one's.

    `identities` are the model servers that answered, oldest first: `{"identity", "server", "facts", "first_at"}`.
    """
    states = [run_state(db.conn, run) for db in dbs]
    seen = {
        row[1]: {"identity": row[1], "server": row[2], "facts": orjson.loads(row[3]), "first_at": row[4]}
        for db in dbs
        for row in db.execute(_IDENTITIES, [run]).fetchall()
    }
    return {
        "pass": max(item.number for item in states),
        "from": next((item.source for item in states if item.source is not None), None),
        "mode": next((item.mode for item in states if item.mode is not None), None),
        "mixed": len(seen) > 1,
        "identities": sorted(seen.values(), key=lambda item: item["first_at"]),
    }


def made(db: Database) -> dict[str, float]:
    """Return every run that has a row of its own, with the time it was made (seconds since the epoch)."""
    return {row[0]: row[1] for row in db.execute("SELECT run, created_at FROM runs").fetchall()}
