"""What stands in memory before the answers of a database: keys that are certainly not there, and answers just read.

Other connections write, and other processes delete. Both are noticed by `PRAGMA data_version` before anything is said:
once in each turn of the event loop is enough, as a request that is handled in a turn was sent before it began.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from typing import NamedTuple

from proxy.store.base import POOLED, EntryKey, StoredResponse

_FOUND = 2**25
"""Bits. A million keys leave one look in two thousand to be made for nothing."""
_STEP = 1000
"""Rows that are learned in one turn of the event loop: about a millisecond."""
LARGEST = 64 * 1024 * 1024
"""Bytes of answers that are held."""
_OVERHEAD = 1000
"""Bytes of an entry beside its bodies, about."""

_VERSION = "PRAGMA data_version"
_LEARN = f"SELECT id, key, created_at FROM responses WHERE id > ? ORDER BY id LIMIT {_STEP}"
_ANCHOR = "SELECT id, key, created_at FROM responses WHERE id = ?"
_SAME = "SELECT id, created_at, upstream_ms FROM responses WHERE key = ? AND pool = ? AND sample = ? AND shape = ?"
"""The number of a row that was deleted is given to another one: it says nothing by itself."""


class Keys:
    """A set of 32-byte keys in four megabytes, which takes a few others for members too."""

    def __init__(self) -> None:
        self._bits = bytearray(_FOUND // 8)

    def add(self, key: bytes) -> None:
        """Make a key a member."""
        for at in _places(key):
            self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, key: bytes) -> bool:
        """Return False only for keys that were never added."""
        bits = self._bits
        one, two, three, four = _places(key)
        return bool(
            bits[one >> 3] & 1 << (one & 7)
            and bits[two >> 3] & 1 << (two & 7)
            and bits[three >> 3] & 1 << (three & 7)
            and bits[four >> 3] & 1 << (four & 7)
        )


def _places(key: bytes) -> tuple[int, int, int, int]:
    number = int.from_bytes(key[:16], "little")  # a key is a hash, and its bytes are as good as any others
    below = _FOUND - 1
    return number & below, number >> 32 & below, number >> 64 & below, number >> 96 & below


class _Held(NamedTuple):
    response: StoredResponse
    row: int
    version: int
    """Of the database when the row was last seen."""
    size: int


class Front:
    """Stands before the rows that `reader` reads.

    Raises (`lacks` and `get`):
        sqlite3.Error: the database cannot be read.
    """

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader
        self._version = -1
        self._looked = False
        self._keys = Keys()
        self._learned = False
        self._anchor: tuple[int, bytes, float] | None = None  # the last row that was learned
        self._held: OrderedDict[EntryKey, _Held] = OrderedDict()
        self._size = 0

    def wrote(self, key: bytes) -> None:
        """Note that an answer with this key is on its way to the database."""
        self._keys.add(key)

    def replaces(self, at: EntryKey) -> None:
        """Note that an answer is on its way that takes the place of what is there, in all shapes."""
        for held in [held for held in self._held if held[:3] == at[:3]]:
            self._drop(held)

    def lacks(self, key: bytes) -> bool:
        """Return whether there is certainly no answer with this key."""
        self._look()
        return self._learned and key not in self._keys

    def get(self, at: EntryKey) -> StoredResponse | None:
        """Return an answer that was put here, if it is still the one in the database."""
        held = self._held.get(at)
        if held is None:
            return None
        self._look()
        if held.version != self._version:
            same = held.row, held.response.created_at, held.response.upstream_ms
            if self._reader.execute(_SAME, at).fetchone() != same:
                self._drop(at)
                return None
            held = self._held[at] = held._replace(version=self._version)
        self._held.move_to_end(at)
        return held.response

    def put(self, at: EntryKey, row: int, response: StoredResponse) -> None:
        """Hold an answer that was read from a row since the last look. Samples are not held: each serves once."""
        size = len(response.body) + len(response.request) + _OVERHEAD
        if at.pool != POOLED or size > LARGEST // 8:
            return
        self._drop(at)
        self._held[at] = _Held(response, row, self._version, size)
        self._size += size
        while self._size > LARGEST:
            self._drop(next(iter(self._held)))

    def _drop(self, at: EntryKey) -> None:
        held = self._held.pop(at, None)
        if held is not None:
            self._size -= held.size

    def _look(self) -> None:
        """Notice what was committed since the last turn of the event loop."""
        if self._looked:
            return
        (version,) = self._reader.execute(_VERSION).fetchone()
        if version != self._version:
            self._version = version
            self._learned = False
        if not self._learned:
            self._learn()
        self._looked = True
        asyncio.get_running_loop().call_soon(self._look_again)

    def _look_again(self) -> None:
        self._looked = False

    def _learn(self) -> None:
        """Learn the next keys. New rows come behind all others, unless the last row was deleted."""
        anchor = self._anchor
        if anchor is not None and self._reader.execute(_ANCHOR, anchor[:1]).fetchone() != anchor:
            anchor = self._anchor = None
        found = self._reader.execute(_LEARN, (anchor[0] if anchor else -1,)).fetchall()
        for _, key, _ in found:
            self._keys.add(key)
        if found:
            self._anchor = found[-1]
        self._learned = len(found) < _STEP
