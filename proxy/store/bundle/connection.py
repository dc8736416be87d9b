"""A store's database as an export reads it and an import writes it, while others use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from proxy.store.base import StoreError

_BUSY = 30.0
"""Seconds to wait for another process's transaction."""


@contextmanager
def connected(db: Path) -> Iterator[sqlite3.Connection]:
    """Open a database, and give up what is not committed where something goes wrong."""
    try:
        with closing(sqlite3.connect(db, timeout=_BUSY, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"store: {db} cannot be used ({error}); nothing was changed") from None


@contextmanager
def snapshot(db: Path) -> Iterator[sqlite3.Connection]:
    """Open a database as it is now, whatever others write meanwhile."""
    with connected(db) as connection:
        connection.execute("PRAGMA query_only = 1")
        connection.execute("BEGIN")
        yield connection
