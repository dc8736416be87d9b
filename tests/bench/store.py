"""Hits from a store of a million answers beside hits from one that holds nothing else, in alternating rounds."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import httpx

from proxy.store.base import POOLED, EntryKey, StoredResponse
from proxy.store.rows import write_response
from proxy.store.sqlite import SqliteStore
from tests.bench import load, servers
from tests.bench.workloads import Workload

ENTRIES = 1_000_000
ASKED = 2_000
"""Different requests of the measurement: their entries lie all over the store, as their keys do."""
EMPTY, FULL = "empty store", "1,000,000 entries"
_HITS = Workload("hits of many", cycle=ASKED)
_SALT = "hit"


def measure(upstream: str, folder: Path, *, rounds: int, seconds: int) -> dict[str, list[float]]:
    """Return hits a second by store, one value for each round; the rounds take turns in who comes first."""
    rates: dict[str, list[float]] = {EMPTY: [], FULL: []}
    with ExitStack() as stack:
        urls = {}
        for number, name in enumerate(rates):
            place = folder / f"store-{number}"
            if name == FULL:
                fill(place / "evalside.db")
            urls[name] = stack.enter_context(servers.sidecar(name, upstream, place)).url
            _have_all_kept(urls[name])
        for number in range(rounds):
            for name in (EMPTY, FULL) if number % 2 else (FULL, EMPTY):
                rates[name].append(load.run(urls[name], folder, _HITS, salt=_SALT, seconds=seconds).per_second)
    return rates


def fill(path: Path) -> None:
    """Put `ENTRIES` answers into a new store: copies of one in the store's own format, each with a key of its own."""
    path.parent.mkdir(parents=True)
    store = SqliteStore(path)
    store.open()
    store.close()
    said = StoredResponse(200, [(b"content-type", b"application/json")], b"x" * 300, "chat", b"y" * 200, 1.0, 1.0)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        write_response(connection, EntryKey(bytes(32), POOLED, 0, "plain"), said)
        own = {"key": "randomblob(32)", "prompt": "randomblob(8)"}
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL"
        ).fetchall()
        for name, _ in indexes:  # each is sorted once at the end, which is much faster
            connection.execute(f'DROP INDEX "{name}"')
        columns = [row[1] for row in connection.execute("PRAGMA table_info(responses)") if row[1] != "id"]
        connection.execute(
            "WITH RECURSIVE numbers (number) AS (SELECT 2 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?)"
            f" INSERT INTO responses ({', '.join(columns)})"
            f" SELECT {', '.join(own.get(name, name) for name in columns)}"
            " FROM numbers, (SELECT * FROM responses LIMIT 1)",
            (ENTRIES,),
        )
        for _, sql in indexes:
            connection.execute(sql)
        connection.commit()
        assert connection.execute("SELECT count(*) FROM responses").fetchone() == (ENTRIES,)


def _have_all_kept(url: str) -> None:
    """Have every request of the measurement answered, and its answer kept."""
    headers = {"content-type": "application/json"}
    with httpx.Client(trust_env=False, timeout=60) as client:
        for state in ("miss", "hit"):
            for number in range(ASKED):
                body = load.body(_HITS, _SALT, number)
                answer = client.post(f"{url}/v1/chat/completions", content=body, headers=headers)
                if answer.headers.get("x-evalside-cache") != state:
                    raise SystemExit(f"{url}: no {state}, but {answer.status_code} {answer.headers}")
