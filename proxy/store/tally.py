"""Counts that are added up in memory and written with the next batch: none is lost where log rows are shed."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Generic, TypeVar

from proxy.store.writer import Job, Writer

K = TypeVar("K", bound=Hashable)


class Tally(Generic[K]):
    """Counts by key.

    Args:
        writer: what writes them.
        write: adds one count to the database, in the writer's thread.
    """

    def __init__(self, writer: Writer, write: Callable[[sqlite3.Connection, K, int], object]) -> None:
        self._writer = writer
        self._write_one = write
        self._next: Counter[K] | None = None  # what the next batch will add
        self._lock = threading.Lock()  # protects _next and what is in it

    def add(self, keys: Iterable[K]) -> None:
        """Count each key once more."""
        with self._lock:
            counts = self._next
            if counts is None:
                counts = self._next = Counter()
                self._writer.submit(Job(partial(self._write, counts), 0, is_log=False))
            counts.update(keys)

    def _write(self, counts: Counter[K], connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._next is counts:
                self._next = None
        for key, count in counts.items():
            self._write_one(connection, key, count)
