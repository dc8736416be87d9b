"""How long and how much is kept."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

_STEP = 500
"""Rows deleted in one transaction, so that writes never wait long."""

_UNCONFIRMED = 30.0
"""Days that an answer is kept whose model server is not seen again."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits; None keeps everything. Oldest rows go first."""

    cache_max_age_days: float | None = None
    cache_max_bytes: int | None = None
    log_max_age_days: float | None = None
    log_max_bytes: int | None = None


def enforce(connection: sqlite3.Connection, retention: Retention) -> None:
    """Delete what is too old, then the oldest of what is too much. `connection` is in autocommit."""
    _older(connection, "responses", "id", "created_at", retention.cache_max_age_days)
    _older(connection, "exchanges", "seq", "started_at", retention.log_max_age_days)
    _older(connection, "memory", "rowid", "at", retention.log_max_age_days)
    _larger(connection, "responses", "id", retention.cache_max_bytes)
    _older(
        connection,
        "unconfirmed",
        "rowid",
        "created_at",
        min(retention.cache_max_age_days or _UNCONFIRMED, _UNCONFIRMED),
    )
    _larger(connection, "unconfirmed", "rowid", retention.cache_max_bytes)
    _larger(connection, "exchanges", "seq", retention.log_max_bytes)


def _older(connection: sqlite3.Connection, table: str, key: str, column: str, days: float | None) -> None:
    if days is None:
        return
    _delete(connection, table, key, f"{column} < ?", time.time() - days * 86_400)


def _larger(connection: sqlite3.Connection, table: str, key: str, limit: int | None) -> None:
    if limit is None:
        return
    # The newest row with which the table is too large. Other workers may delete at the same time: a place in the
    # order stays right, a number of bytes still to delete would not.
    kept = f"SELECT {key}, sum(size) OVER (ORDER BY {key} DESC) AS kept FROM {table}"
    last = connection.execute(f"SELECT max({key}) FROM ({kept}) WHERE kept > ?", (limit,)).fetchone()[0]
    _delete(connection, table, key, f"{key} <= ?", last)


def _delete(connection: sqlite3.Connection, table: str, key: str, where: str, value: float | None) -> None:
    sql = f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {where} LIMIT {_STEP})"
    while connection.execute(sql, (value,)).rowcount == _STEP:
        pass
