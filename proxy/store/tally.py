"""What is added up in memory and written with the next batch: nothing of it is lost where log rows are shed, or
a batch is given up.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Generic, TypeVar

from proxy.store.writer import Job, Writer

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Tally(Generic[K, V]):
    """Amounts by key.

    Args:
        writer: what writes them.
        plus: adds two amounts.
        write: adds an amount to the database, in the writer's thread.
    """

    def __init__(
        self, writer: Writer, plus: Callable[[V, V], V], write: Callable[[sqlite3.Connection, K, V], object]
    ) -> None:
        self._writer = writer
        self._plus = plus
        self._write_one = write
        self._next: dict[K, V] | None = None  # what the next batch will add
        self._lock = threading.Lock()  # protects _next and what is in it

    def add(self, amounts: Iterable[tuple[K, V]]) -> None:
        """Add to the amount of each key."""
        with self._lock:
            sums = self._next
            if sums is None:
                sums = self._next = {}
                write = partial(self._write, sums)
                self._writer.submit(Job(write, 0, is_log=False, owed=write))
            for key, amount in amounts:
                known = sums.get(key)
                sums[key] = amount if known is None else self._plus(known, amount)

    def _write(self, sums: dict[K, V], connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._next is sums:
                self._next = None
        for key, amount in sums.items():
            self._write_one(connection, key, amount)
