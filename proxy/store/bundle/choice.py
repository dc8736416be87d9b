"""Which answers belong to a run, or to everything, and what can be said of them together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from proxy.core.document import parse
from proxy.store import samples
from proxy.store.base import POOLED, EntryKey, StoredResponse, StoreError, sample_pool

_ROW = "SELECT key, pool, sample, shape, id FROM responses"
_USED = f"{_ROW} JOIN uses USING (key, pool, sample) WHERE uses.run = ? AND pool = '' GROUP BY id"
_IN_POOLS = f"{_ROW} WHERE pool >= ? AND pool < ?"
_IN_POOL = f"{_ROW} WHERE pool = ?"
_RUNS = """SELECT run FROM runs UNION SELECT run FROM uses
UNION SELECT substr(pool, 1, instr(pool, '/') - 1) FROM responses WHERE pool LIKE '%/%'
UNION SELECT pool FROM responses WHERE pool != '' AND pool NOT LIKE '%/%'"""


_SHOWN = 3
"""Runs that an error message names."""


class Row(NamedTuple):
    """An answer, and where a bundle puts it."""

    at: EntryKey
    id: int
    """Of its row."""


def named(connection: sqlite3.Connection, text: str) -> str:
    """Return the run of this name, or the one whose name begins so.

    Raises:
        StoreError: there is none, or more than one.
    """
    found = [row[0] for row in connection.execute(f"SELECT run FROM ({_RUNS}) ORDER BY run") if row[0].startswith(text)]
    if text in found:
        return text
    if not found:
        raise StoreError(f"the store has no run '{text}'; 'evalside cache stats' lists the runs")
    if len(found) > 1:
        shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise StoreError(f"several runs begin with '{text}' ({shown}); write more of the name")
    return str(found[0])


def known(connection: sqlite3.Connection, run: str) -> bool:
    """Return whether the store has anything of a run."""
    return connection.execute(f"SELECT 1 FROM ({_RUNS}) WHERE run = ?", (run,)).fetchone() is not None


def chosen(connection: sqlite3.Connection, run: str | None) -> list[Row]:
    """Return the answers of a run, or of everything, with no order."""
    if run is not None:
        used = _rows(connection.execute(_USED, (run,)))
        return [*used, *_samples(connection, run), *_loose(connection, run)]
    found = _rows(connection.execute(_IN_POOL, (POOLED,)))
    for (name,) in connection.execute(_RUNS).fetchall():
        found += _samples(connection, name)
        found += _loose(connection, name)
    return found


def _samples(connection: sqlite3.Connection, run: str) -> Iterator[Row]:
    """Yield the samples of a run and of those it was made from; of each index the nearest run's."""
    nearest: dict[tuple[str, bytes, int], str] = {}
    for name in samples.ancestors(connection, run):
        for at, row_id in _rows(connection.execute(_IN_POOLS, (name + "/", name + "0"))):
            received = at.pool.removeprefix(name + "/")
            if nearest.setdefault((received, at.key, at.sample or 0), name) == name:
                yield Row(at._replace(pool=sample_pool(run, received)), row_id)


def _loose(connection: sqlite3.Connection, run: str) -> list[Row]:
    """Return sampled answers that belong to no sequence: those of the default run, which are never served."""
    return _rows(connection.execute(_IN_POOL, (run,)))


def _rows(cursor: sqlite3.Cursor) -> list[Row]:
    return [Row(EntryKey(key, pool, sample, shape), row_id) for key, pool, sample, shape, row_id in cursor]


def identities(connection: sqlite3.Connection, run: str | None) -> list[dict[str, Any]]:
    """Return what was noted of the model servers that answered a run and its sources, or any run."""
    names = samples.ancestors(connection, run) if run is not None else None
    where = "1" if names is None else f"run IN ({', '.join('?' * len(names))})"
    rows = connection.execute(
        f"SELECT identity, server, facts, min(first_at) FROM run_identities WHERE {where} GROUP BY identity",
        names or (),
    )
    return [
        {"name": name, "server": server, "facts": orjson.loads(facts), "first_at": first_at}
        for name, server, facts, first_at in rows
    ]


@dataclass(slots=True)
class Tally:
    """What the answers of a bundle add up to."""

    entries: int = 0
    samples: int = 0
    bytes: int = 0
    created: float = 0.0
    models: set[str] = field(default_factory=set)
    identities: dict[str, float] = field(default_factory=dict)
    """With the time of their first answer."""

    def add(self, at: EntryKey, response: StoredResponse) -> None:
        """Count one more."""
        self.entries += 1
        self.samples += at.pool != POOLED
        self.bytes += len(response.request) + len(response.body)
        self.created = max(self.created, response.created_at)
        model = parse(response.request).value.get("model")
        if isinstance(model, str):
            self.models.add(model)
        name = response.source.identity
        self.identities[name] = min(response.created_at, self.identities.get(name, response.created_at))

    def counts(self, left_out: int) -> dict[str, int]:
        """Return the manifest's counts."""
        return {
            "entries": self.entries,
            "deterministic": self.entries - self.samples,
            "samples": self.samples,
            "bytes": self.bytes,
            "left_out": left_out,
        }

    def seen(self, noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the manifest's identities, latest first: those noted, and those that only answers name."""
        names = {item["name"] for item in noted}
        others = [
            {"name": name, "server": "", "facts": {}, "first_at": first_at}
            for name, first_at in self.identities.items()
            if name not in names
        ]
        return sorted([*noted, *others], key=lambda item: (-item["first_at"], item["name"]))
