"""How many rows there may be of what is only counted; the oldest go first."""

from __future__ import annotations

import sqlite3

BOUNDS = {"uses": 5_000_000, "verifications": 100_000, "sequences": 1_000_000}
"""Rows by table."""
_WINDOW = 20_000
"""Sequences that are looked at in one round, so that writes never wait long."""
_STEP = 500
"""Rows deleted in one transaction, for the same reason."""

# A sequence of a pass that is over begins anew, and so may one whose answers are gone: its counter stands for nothing.
_LOOK = """SELECT sequences.rowid, sequences.pass < coalesce((SELECT runs.pass FROM runs WHERE run = sequences.run), 0),
 EXISTS (SELECT 1 FROM responses WHERE key = substr(sequences.sequence, -32)) OR EXISTS
 (SELECT 1 FROM slots WHERE slots.run = sequences.run AND slots.sequence = sequences.sequence AND holder IS NOT NULL)
FROM sequences WHERE sequences.rowid > ? AND sequences.rowid <= ? ORDER BY sequences.rowid LIMIT ?"""
_SLOTS = """DELETE FROM slots WHERE rowid IN (SELECT slots.rowid FROM slots JOIN sequences USING (run, sequence)
WHERE sequences.rowid = ?)"""


class Bounds:
    """Keeps tables from growing for ever, a little in each round."""

    def __init__(self) -> None:
        self._looked = 0  # the last sequence that was looked at; the next round goes on behind it

    def enforce(self, connection: sqlite3.Connection) -> int:
        """Delete the oldest rows of what has too many; return how many that told something. It is in autocommit."""
        dropped = 0
        for table in ("uses", "verifications"):
            last = _last(connection, table)
            if last is not None:
                dropped += _delete_oldest(connection, table, last)
        last = _last(connection, "sequences")
        return dropped if last is None else dropped + self._drop_sequences(connection, last)

    def _drop_sequences(self, connection: sqlite3.Connection, last: int) -> int:
        rows = connection.execute(_LOOK, (self._looked, last, _WINDOW)).fetchall()
        self._looked = rows[-1][0] if len(rows) == _WINDOW else 0
        gone = [(row, bool(is_over)) for row, is_over, matters in rows if is_over or not matters]
        for start in range(0, len(gone), _STEP):
            connection.execute("BEGIN IMMEDIATE")
            for row, _ in gone[start : start + _STEP]:
                connection.execute(_SLOTS, (row,))
                connection.execute("DELETE FROM sequences WHERE rowid = ?", (row,))
            connection.execute("COMMIT")
        return sum(not is_over for _, is_over in gone)


def _last(connection: sqlite3.Connection, table: str) -> int | None:
    """Return the newest row that is too much, None where there is none."""
    bound = BOUNDS[table]
    ends = f"SELECT (SELECT max(rowid) FROM {table}) - (SELECT min(rowid) FROM {table})"  # two looks into the index
    if (connection.execute(ends).fetchone()[0] or 0) < bound:
        return None
    row = connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT 1 OFFSET ?", (bound,)).fetchone()
    return None if row is None else int(row[0])


def _delete_oldest(connection: sqlite3.Connection, table: str, last: int) -> int:
    sql = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE rowid <= ? LIMIT {_STEP})"
    total = 0
    while (gone := connection.execute(sql, (last,)).rowcount) > 0:
        total += gone
    return total
