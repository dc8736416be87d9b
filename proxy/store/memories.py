"""What interceptors remember from one request of a run to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

_RECALL = "SELECT value FROM memory WHERE run = ? AND kind = ? AND key = ?"
_REMEMBER = "INSERT OR REPLACE INTO memory (run, kind, key, value, at) VALUES (?, ?, ?, ?, ?)"
_COUNT = "SELECT count(*) FROM memory WHERE run = ? AND kind = ?"
_FORGET = """DELETE FROM memory WHERE rowid IN
(SELECT rowid FROM memory WHERE run = ? AND kind = ? ORDER BY at DESC, rowid DESC LIMIT -1 OFFSET ?)"""
_OFTEN = 64
"""Every so many rows are counted: not for each one."""

Place = tuple[str, str, str]
"""Run, kind and key."""


def recall(connection: sqlite3.Connection, at: Place) -> str | None:
    """Return what was remembered, None where nothing was."""
    row = connection.execute(_RECALL, at).fetchone()
    return None if row is None else str(row[0])


def remember(connection: sqlite3.Connection, at: Place, value: str, now: float, keep: int | None) -> None:
    """Remember a value, in place of the one before.

    Args:
        connection: in a transaction.
        at: where.
        value: what.
        now: seconds since the epoch.
        keep: how many of the run and kind are kept, give or take some; the oldest go.
    """
    row = connection.execute(_REMEMBER, (*at, value, now)).lastrowid
    if keep is not None and row is not None and row % min(_OFTEN, keep) == 0:
        count = connection.execute(_COUNT, at[:2]).fetchone()[0]
        if count > keep:
            connection.execute(_FORGET, (*at[:2], keep))


def amend(connection: sqlite3.Connection, at: Place, change: Callable[[str | None], str], now: float) -> str:
    """Replace what is remembered by what `change` makes of it, in a transaction, and return that."""
    before = recall(connection, at)
    value = change(before)
    if value != before:
        remember(connection, at, value, now, None)
    return value
