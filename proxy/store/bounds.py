"""How many rows there may be of what is only counted; the oldest go first."""

from __future__ import annotations

import sqlite3

BOUNDS = {"uses": 5_000_000, "verifications": 100_000, "sequences": 1_000_000}
"""Rows by table."""
_STEP = 500
"""Rows deleted in one transaction, so that writes never wait long."""

# A sequence of a pass that is over begins anew, and so may one whose answers are gone: its counter stands for nothing.
_OVER = """SELECT sequences.rowid FROM sequences LEFT JOIN runs USING (run)
WHERE sequences.rowid <= ? AND sequences.pass < coalesce(runs.pass, 0)"""
_EMPTY = """SELECT rowid FROM sequences WHERE rowid <= ?
AND NOT EXISTS (SELECT 1 FROM responses WHERE key = substr(sequences.sequence, -32))
AND NOT EXISTS (SELECT 1 FROM slots WHERE slots.run = sequences.run AND slots.sequence = sequences.sequence
 AND holder IS NOT NULL)"""
_SLOTS = """DELETE FROM slots WHERE holder IS NULL AND NOT EXISTS
(SELECT 1 FROM sequences WHERE sequences.run = slots.run AND sequences.sequence = slots.sequence)"""


def enforce(connection: sqlite3.Connection) -> int:
    """Delete the oldest rows of what has too many, and return how many that told something. It is in autocommit."""
    dropped = 0
    for table in ("uses", "verifications"):
        last = _last(connection, table)
        if last is not None:
            dropped += _delete(connection, table, f"SELECT rowid FROM {table} WHERE rowid <= ?", last)
    last = _last(connection, "sequences")
    if last is not None:
        _delete(connection, "sequences", _OVER, last)
        last = _last(connection, "sequences")
    if last is not None:
        dropped += _delete(connection, "sequences", _EMPTY, last)
        connection.execute(_SLOTS)
    return dropped


def _last(connection: sqlite3.Connection, table: str) -> int | None:
    """Return the newest row that is too much, None where there is none."""
    bound = BOUNDS[table]
    ends = f"SELECT (SELECT max(rowid) FROM {table}) - (SELECT min(rowid) FROM {table})"  # two looks into the index
    if (connection.execute(ends).fetchone()[0] or 0) < bound:
        return None
    row = connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1 OFFSET ?", (bound,)).fetchone()
    return None if row is None else int(row[0])


def _delete(connection: sqlite3.Connection, table: str, rows: str, last: int) -> int:
    sql = f"DELETE FROM {table} WHERE rowid IN ({rows} LIMIT {_STEP})"
    total = 0
    while (gone := connection.execute(sql, (last,)).rowcount) > 0:
        total += gone
    return total
