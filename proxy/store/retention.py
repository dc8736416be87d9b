"""How long and how much is kept."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

_STEP = 500
"""Rows deleted in one transaction, so that writes never wait long."""


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
    _larger(connection, "responses", "id", retention.cache_max_bytes)
    _larger(connection, "exchanges", "seq", retention.log_max_bytes)


def _older(connection: sqlite3.Connection, table: str, key: str, column: str, days: float | None) -> None:
    if days is None:
        return
    before = time.time() - days * 86_400
    sql = f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {column} < ? LIMIT {_STEP})"
    while connection.execute(sql, (before,)).rowcount == _STEP:
        pass


def _larger(connection: sqlite3.Connection, table: str, key: str, limit: int | None) -> None:
    if limit is None:
        return
    excess = connection.execute(f"SELECT coalesce(sum(size), 0) FROM {table}").fetchone()[0] - limit
    while excess > 0:
        rows = connection.execute(f"SELECT {key}, size FROM {table} ORDER BY {key} LIMIT {_STEP}").fetchall()
        last = None
        for last, size in rows:
            excess -= size
            if excess <= 0:
                break
        connection.execute(f"DELETE FROM {table} WHERE {key} <= ?", (last,))
