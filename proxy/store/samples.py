"""The rows behind runs and their samples. Each function is one step of a transaction of the writer."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from typing import NamedTuple

from proxy.store.base import DEFAULT_RUN, Lease, RunState, Sequence, sample_pool

_STATE = "SELECT pass, source, mode FROM runs WHERE run = ?"
_CREATE = "INSERT OR IGNORE INTO runs (run, pass, created_at) VALUES (?, 0, ?)"
_NO_SUCH = RunState()
_HELD = "run = ? AND sequence = ? AND sample = ? AND holder IN (?, ?)"
_OF_A_RUN = (
    "exchanges",
    "slots",
    "sequences",
    "uses",
    "run_identities",
    "verifications",
    "changes",
    "transformed",
    "statistics",
    "memory",
    "runs",
)
"""Tables whose rows go with their run."""

REPLAYED = "-replayed"
"""Ends the holder of a sample that is served from the cache. It is used up even if the worker dies: that the client has
it is noted a moment after the fact, and a sample must not come twice. One that is asked for again is free then."""


def run_state(connection: sqlite3.Connection, name: str) -> RunState:
    """Return the state of a run; of one that is not there, a new one's."""
    row = connection.execute(_STATE, (name,)).fetchone()
    return _NO_SUCH if row is None else RunState(*row)


def ancestors(connection: sqlite3.Connection, name: str) -> list[str]:
    """Return the run, and those whose samples it replays, nearest first."""
    names = [name]
    while (source := run_state(connection, names[-1]).source) is not None and source not in names:
        names.append(source)
    return names


def new_pass(connection: sqlite3.Connection, name: str, *, source: str | None, mode: str | None) -> RunState:
    """Begin a new pass of a run, which is made where it is missing; only a run without a pass takes a source."""
    if connection.execute(_STATE, (name,)).fetchone() is None:
        connection.execute(_CREATE, (name, time.time()))
        connection.execute("UPDATE runs SET source = ?, mode = ? WHERE run = ?", (source, mode, name))
    else:
        connection.execute("UPDATE runs SET pass = pass + 1, mode = coalesce(?, mode) WHERE run = ?", (mode, name))
    return run_state(connection, name)


def take(connection: sqlite3.Connection, of: Sequence, holder: str, *, serves: bool = True) -> Lease:
    """Lease the lowest sample that this pass has not used. With `serves`, an answer that is there will be served."""
    sequence, pools, upcoming = _begin(connection, of)
    sample = _lowest(connection, of.run, sequence, upcoming)
    return _taken(connection, Lease(of, sample, pools, holder), upcoming, serves=serves)


def take_recorded(connection: sqlite3.Connection, of: Sequence, holder: str) -> Lease | None:
    """Lease the lowest sample that this pass has not used and that is answered; None where there is none."""
    _, pools, upcoming = _begin(connection, of)
    sample = _answered(connection, of, pools, upcoming)
    return None if sample is None else _taken(connection, Lease(of, sample, pools, holder), upcoming, serves=True)


def _begin(connection: sqlite3.Connection, of: Sequence) -> tuple[bytes, tuple[str, ...], int]:
    """Return a sequence's name, where its answers may be, and the lowest index that this pass has not touched."""
    connection.execute(_CREATE, (of.run, time.time()))
    sequence = of.received.encode() + of.key
    pools = tuple(sample_pool(name, of.received) for name in ancestors(connection, of.run))
    return sequence, pools, _upcoming(connection, of.run, sequence)


def _taken(connection: sqlite3.Connection, lease: Lease, upcoming: int, *, serves: bool) -> Lease:
    if lease.sample >= upcoming:
        connection.execute(
            "UPDATE sequences SET next = ? WHERE run = ? AND sequence = ?",
            (lease.sample + 1, lease.of.run, lease.of.received.encode() + lease.of.key),
        )
    return _leased(connection, lease, serves=serves)


def claim(connection: sqlite3.Connection, of: Sequence, sample: int, holder: str) -> Lease | None:
    """Lease a sample that the client named, without moving the counter; None where another request holds it.

    A sample that is answered needs no lease: the holder is empty then, and settling it changes nothing.
    """
    sequence, pools, _ = _begin(connection, of)
    if _is_answered(connection, of.key, pools, sample):
        return Lease(of, sample, pools, holder="")
    held = connection.execute(
        "SELECT holder FROM slots WHERE run = ? AND sequence = ? AND sample = ?", (of.run, sequence, sample)
    ).fetchone()
    if held is not None and held[0] is not None:
        return None
    return _leased(connection, Lease(of, sample, pools, holder), serves=True)


def mark(connection: sqlite3.Connection, lease: Lease, *, replayed: bool) -> Lease:
    """Note that the sample of a lease is served from the cache, or is asked for though there is an answer."""
    holder = lease.holder.removesuffix(REPLAYED) + (REPLAYED if replayed else "")
    marked = dataclasses.replace(lease, holder=holder, replayed=replayed)
    connection.execute(f"UPDATE slots SET holder = ? WHERE {_HELD}", (marked.holder, *_held(lease)))
    return marked


def _leased(connection: sqlite3.Connection, lease: Lease, *, serves: bool) -> Lease:
    of, sample = lease.of, lease.sample
    if serves and _is_answered(connection, of.key, lease.pools, sample):
        lease = dataclasses.replace(lease, holder=lease.holder + REPLAYED, replayed=True)
    connection.execute(
        "INSERT OR REPLACE INTO slots (run, sequence, sample, holder) VALUES (?, ?, ?, ?)",
        (of.run, of.received.encode() + of.key, sample, lease.holder),
    )
    return lease


def _lowest(connection: sqlite3.Connection, run: str, sequence: bytes, upcoming: int) -> int:
    """Return the lowest free index: one that was given back, else the first that no client has named."""
    given_back = "SELECT min(sample) FROM slots WHERE run = ? AND sequence = ? AND holder IS NULL AND sample < ?"
    lowest = connection.execute(given_back, (run, sequence, upcoming)).fetchone()[0]
    if lowest is not None:
        return int(lowest)
    held = "SELECT 1 FROM slots WHERE run = ? AND sequence = ? AND sample = ? AND holder IS NOT NULL"
    while connection.execute(held, (run, sequence, upcoming)).fetchone() is not None:
        upcoming += 1
    return upcoming


def _is_answered(connection: sqlite3.Connection, key: bytes, pools: tuple[str, ...], sample: int) -> bool:
    there = f"SELECT 1 FROM responses WHERE key = ? AND pool IN ({_marks(pools)}) AND sample = ?"
    return connection.execute(there, (key, *pools, sample)).fetchone() is not None


def _answered(connection: sqlite3.Connection, of: Sequence, pools: tuple[str, ...], upcoming: int) -> int | None:
    """Return the lowest free sample that has an answer: one that was given back, else one not touched yet."""
    run, received, key = of
    given_back = (
        "SELECT min(slots.sample) FROM slots WHERE run = ? AND sequence = ? AND holder IS NULL AND EXISTS"
        f" (SELECT 1 FROM responses WHERE key = ? AND pool IN ({_marks(pools)}) AND responses.sample = slots.sample)"
    )
    found = connection.execute(given_back, (run, received.encode() + key, key, *pools)).fetchone()[0]
    if found is None:
        untouched = f"SELECT min(sample) FROM responses WHERE key = ? AND pool IN ({_marks(pools)}) AND sample >= ?"
        found = connection.execute(untouched, (key, *pools, upcoming)).fetchone()[0]
    return None if found is None else int(found)


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))


def _upcoming(connection: sqlite3.Connection, run: str, sequence: bytes) -> int:
    """Return the lowest index that this pass has not touched; a sequence of an earlier pass starts anew."""
    number = run_state(connection, run).number
    row = connection.execute(
        "SELECT pass, next FROM sequences WHERE run = ? AND sequence = ?", (run, sequence)
    ).fetchone()
    if row is not None and row[0] == number:
        return int(row[1])
    connection.execute("DELETE FROM slots WHERE run = ? AND sequence = ?", (run, sequence))
    connection.execute(
        "INSERT OR REPLACE INTO sequences (run, sequence, pass, next) VALUES (?, ?, ?, 0)", (run, sequence, number)
    )
    return 0


def identities(connection: sqlite3.Connection, run: str) -> list[str]:
    """Return the identities that answered the run or one of its sources, latest first; of an unknown run, all."""
    found: list[str] = []
    for name in ancestors(connection, run):
        rows = connection.execute("SELECT identity FROM run_identities WHERE run = ? ORDER BY first_at DESC", (name,))
        found += [row[0] for row in rows]
    if not found:
        found = [row[0] for row in connection.execute("SELECT identity FROM run_identities ORDER BY first_at DESC")]
    return list(dict.fromkeys(found))


def settle(connection: sqlite3.Connection, lease: Lease, *, used: bool) -> bool:
    """End a lease: a used sample is gone for this pass, another is free again.

    Returns whether its answer may be kept: a new pass may have given the sample to another, or the run be deleted.
    """
    values = _held(lease)
    step = "DELETE FROM slots WHERE " if used else "UPDATE slots SET holder = NULL WHERE "
    if connection.execute(step + _HELD, values).rowcount == 1:
        return True
    untouched = """SELECT 1 FROM sequences WHERE run = ? AND sequence = ? AND next <= ? AND NOT EXISTS
    (SELECT 1 FROM slots WHERE slots.run = sequences.run AND slots.sequence = sequences.sequence AND sample = ?)"""
    return connection.execute(untouched, (*values[:3], lease.sample)).fetchone() is not None


def _held(lease: Lease) -> tuple[str, bytes, int, str, str]:
    """Return the values of `_HELD`: a client that left meanwhile does not know how its sample was marked."""
    holder = lease.holder.removesuffix(REPLAYED)
    return lease.of.run, lease.of.received.encode() + lease.of.key, lease.sample, holder, holder + REPLAYED


def count(
    connection: sqlite3.Connection,
    run: str,
    at: tuple[bytes, str, int],
    *,
    asked: int,
    served: int,
    number: int | None = None,
) -> None:
    """Add to how often a pass of the run, the current one by default, asked for an answer, and was served it."""
    if run != DEFAULT_RUN:
        connection.execute(_CREATE, (run, time.time()))
    connection.execute(
        'INSERT INTO uses (run, "pass", key, pool, sample, asked, served) VALUES (?, ?, ?, ?, ?, ?, ?)'
        ' ON CONFLICT (run, "pass", key, pool, sample)'
        " DO UPDATE SET asked = asked + excluded.asked, served = served + excluded.served",
        (run, run_state(connection, run).number if number is None else number, *at, asked, served),
    )


class Use(NamedTuple):
    """That a run used an answer."""

    run: str
    at: tuple[bytes, str, int]
    """Key, pool and sample."""
    served: bool
    """From the cache; else it was asked for."""


def count_use(connection: sqlite3.Connection, use: Use, times: int) -> None:
    """Add to how often the run's current pass used an answer."""
    asked, served = (0, times) if use.served else (times, 0)
    count(connection, use.run, use.at, asked=asked, served=served)


def delete_run(connection: sqlite3.Connection, name: str) -> int:
    """Delete a run with its samples, log and counters; return how many answers went. Pooled answers stay.

    Raises:
        ValueError: another run was made from it.
    """
    heir = connection.execute("SELECT run FROM runs WHERE source = ?", (name,)).fetchone()
    if heir is not None:
        raise ValueError(
            f"run '{heir[0]}' was made from run '{name}' and replays its samples; delete '{heir[0]}' first"
        )
    in_pools = "WHERE pool = ? OR (pool >= ? AND pool < ?)", (name, name + "/", name + "0")
    gone = connection.execute(f"DELETE FROM responses {in_pools[0]}", in_pools[1]).rowcount
    connection.execute(f"DELETE FROM unconfirmed {in_pools[0]}", in_pools[1])
    for table in _OF_A_RUN:
        connection.execute(f"DELETE FROM {table} WHERE run = ?", (name,))
    return gone
