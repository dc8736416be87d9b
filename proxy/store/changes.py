"""The ledger's counts: on how many requests of a pass an interceptor changed a field."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlite_utils import Database

from proxy.store.base import DEFAULT_RUN, ChangeKind
from proxy.store.samples import run_state

_ADD = """INSERT INTO changes (run, "pass", interceptor, side, field, what, why, requests)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, "pass", interceptor, side, field, what, why) DO UPDATE SET requests = requests + excluded.requests"""
_ADD_PASSED = """INSERT INTO transformed (run, "pass", requests) VALUES (?, ?, ?)
ON CONFLICT (run, "pass") DO UPDATE SET requests = requests + excluded.requests"""
_FIND = """SELECT interceptor, side AS "on", field, what, why, requests FROM changes
WHERE run = ? AND "pass" = ? ORDER BY requests DESC, interceptor, field"""
_PASSED = 'SELECT requests FROM transformed WHERE run = ? AND "pass" = ?'


def add(connection: sqlite3.Connection, key: tuple[str | None, ChangeKind | None], count: int) -> None:
    """Add to the count of a run's current pass: of one kind of change, or for None of the requests there were."""
    run, kind = key[0] or DEFAULT_RUN, key[1]
    of_pass = (run, run_state(connection, run).number)
    if kind is None:
        connection.execute(_ADD_PASSED, (*of_pass, count))
    else:
        connection.execute(_ADD, (*of_pass, *kind, count))


def of_run(db: Database, run: str, number: int) -> list[dict[str, Any]]:
    """Return what was changed in a pass of a run, the most frequent first.

    Each is `{"interceptor", "on", "field", "what", "why", "requests", "of"}`: changed on `requests` of `of` requests.
    """
    passed = db.execute(_PASSED, [run, number]).fetchone()
    rows = db.execute(_FIND, [run, number]).fetchall()
    return [{**dict(row), "of": passed[0] if passed else 0} for row in rows]
