"""Statistics of a pass: of each observed quantity the number, sum, smallest and largest value."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlite_utils import Database

from proxy.store.base import DEFAULT_RUN
from proxy.store.samples import run_state

_ADD = """INSERT INTO statistics (run, "pass", name, count, total, smallest, largest) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, "pass", name) DO UPDATE SET count = count + excluded.count, total = total + excluded.total,
smallest = min(smallest, excluded.smallest), largest = max(largest, excluded.largest)"""
_TIMES = 'SELECT count FROM statistics WHERE run = ? AND "pass" = ? AND name = ?'
_FIND = """SELECT name, sum(count), sum(total), min(smallest), max(largest) FROM statistics
WHERE run = ? AND "pass" BETWEEN ? AND ? GROUP BY name ORDER BY name"""


_ENDS = ("started", "finished", "unfinished")


class Quantity(NamedTuple):
    """What is known of a quantity that was observed some times."""

    times: int
    total: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, value: float) -> Quantity:
        """Return one observation."""
        return cls(1, value, value, value)

    @property
    def mean(self) -> float:
        """The average of all observations."""
        return self.total / self.times


def add(connection: sqlite3.Connection, key: tuple[str | None, str], quantity: Quantity) -> None:
    """Add observations to the current pass of a run: `key` is the run and the quantity's name."""
    run = key[0] or DEFAULT_RUN
    connection.execute(_ADD, (run, run_state(connection, run).number, key[1], *quantity))


def add_all(connection: sqlite3.Connection, run: str | None, observations: Iterable[Mapping[str, float]]) -> None:
    """Add the quantities of many answers to the current pass of a run."""
    found: dict[str, list[float]] = {}
    for values in observations:
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    for name, seen in found.items():
        add(connection, (run, name), Quantity(len(seen), sum(seen), min(seen), max(seen)))


def times(connection: sqlite3.Connection, run: str | None, name: str) -> int:
    """Return how often a quantity was observed in the current pass of a run."""
    at = run or DEFAULT_RUN
    row = connection.execute(_TIMES, (at, run_state(connection, at).number, name)).fetchone()
    return 0 if row is None else int(row[0])


def quantities(db: Database, run: str, number: int, since: int | None = None) -> dict[str, Quantity]:
    """Return everything that was observed in a pass of a run, and in those before it from `since` on, by name."""
    first = number if since is None else since
    return {row[0]: Quantity(*row[1:]) for row in db.execute(_FIND, [run, first, number]).fetchall()}


def of_run(db: Database, run: str, number: int, since: int | None = None) -> dict[str, Any]:
    """Return the statistics of a pass, and of those before it from `since` on, under the reference's names.

    Averages and maxima are over the answers that told the number. Times are in seconds since the epoch, latencies in
    milliseconds; `inference_time` is from the first request to the last answer, in seconds.
    """
    found = quantities(db, run, number, since)
    count = {name: quantity.times for name, quantity in found.items()}
    started, ended = found.get("started_at"), found.get("ended_at")
    told: dict[str, Any] = {
        "count": count.get("responses", 0),
        "successful_count": count.get("successes", 0),
        "hits": count.get("hits", 0),
        "retries": int(found["retries"].total) if "retries" in found else 0,
        "damped": count.get("damped", 0),
    }
    for name in (
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "reasoning_tokens",
        "latency_ms",
        "first_byte_ms",
    ):
        quantity = found.get(name)
        told[f"avg_{name}"] = round(quantity.mean, 3) if quantity else None
        told[f"max_{name}"] = quantity.largest if quantity else None
    for name in ("tool_calls", "function_calls"):
        told[f"{name}_count"] = int(found[name].total) if name in found else 0
    for name in ("finish_reason", "status_codes"):
        prefix = f"{name}:"
        told[name] = {key.removeprefix(prefix): int(found[key].total) for key in found if key.startswith(prefix)}
    told["reasoning"] = _reasoning(found)
    told["first_request_time"] = started.smallest if started else None
    told["last_request_time"] = started.largest if started else None
    told["inference_time"] = round(ended.largest - started.smallest, 3) if started and ended else 0.0
    return told


def _reasoning(found: dict[str, Quantity]) -> dict[str, Any] | None:
    """Return what `reasoning` counted, under the reference's names; None where it was not there."""
    seen = found.get("reasoning:responses")
    if seen is None:
        return None
    counts = {name: found[f"reasoning:{name}"].times if f"reasoning:{name}" in found else 0 for name in _ENDS}
    told: dict[str, Any] = {
        "total_responses": seen.times,
        "responses_with_reasoning": counts["started"],
        **{f"reasoning_{name}_count": times for name, times in counts.items()},
        "reasoning_finished_ratio": counts["finished"] / counts["started"] if counts["started"] else None,
    }
    for name, quantity in (
        ("reasoning_words", found.get("reasoning:words")),
        ("updated_content_words", found.get("reasoning:content_words")),
    ):
        told[f"avg_{name}"] = round(quantity.mean, 3) if quantity else None
        told[f"max_{name}"] = quantity.largest if quantity else None
        told[f"total_{name}"] = int(quantity.total) if quantity else 0
    return told
