"""Which processes work on a store: each holds a lock on a file of its own, which the system releases when it dies."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Collection
from pathlib import Path

from proxy.store.samples import REPLAYED

_SUFFIX = ".lock"
NAME = 16
"""Characters of a worker's name, with which the names of its leases begin."""

_DECIDED = "holder NOT IN (SELECT holder FROM unconfirmed WHERE holder NOT NULL)"


class Worker:
    """The place of this process among those that share a database.

    A pid would not do: containers that share a volume do not share process ids, but they do share file locks.

    Args:
        database: the file that the workers share.
    """

    def __init__(self, database: Path) -> None:
        self._folder = database.parent / (database.name + "-workers")
        self.name = os.urandom(NAME // 2).hex()

    def open(self) -> None:
        """Take the place. Raises OSError where its file cannot be made."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._path = self._folder / (self.name + _SUFFIX)
        while True:
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # another worker that starts may be looking at it
            if self._path.exists():
                return
            os.close(self._descriptor)  # it took the file for one that a dead worker left

    def close(self) -> None:
        """Give it up."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def bury(self, connection: sqlite3.Connection) -> None:
        """Free what workers held that are gone. `connection` is in autocommit."""
        for path in self._folder.glob("*" + _SUFFIX):
            if path != self._path:
                _remove_if_dead(path)
        holders = connection.execute(f"SELECT DISTINCT substr(holder, 1, {NAME}) FROM slots WHERE holder NOT NULL")
        for (name,) in holders.fetchall():
            if self.gone([name]):
                connection.execute(f"DELETE FROM slots WHERE holder GLOB ? AND {_DECIDED}", (f"{name}*{REPLAYED}",))
                free(connection, name)

    @property
    def alone(self) -> bool:
        """Whether no other worker is there."""
        return all(path == self._path for path in self._folder.glob("*" + _SUFFIX))

    def gone(self, names: Collection[str]) -> set[str]:
        """Return which of these workers are buried, or have left."""
        return {name for name in names if not (self._folder / (name + _SUFFIX)).exists()}


def free(connection: sqlite3.Connection, worker: str) -> None:
    """Free every sample that a worker holds, but for those whose answer is there and not decided on."""
    connection.execute(f"UPDATE slots SET holder = NULL WHERE holder GLOB ? AND {_DECIDED}", (worker + "*",))


def _remove_if_dead(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # it has left
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)  # under the lock, so that who starts with this file sees that it is gone
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
