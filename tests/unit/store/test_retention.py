import sqlite3
import time
from pathlib import Path

import pytest

from proxy.store import retention
from proxy.store.retention import Retention, enforce
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import FIRST, answer, record

DAY = 86_400


@pytest.fixture
async def db(tmp_path: Path):
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    for age in range(10, 0, -1):
        made = time.time() - age * DAY
        response = answer(b"x" * 1000)
        object.__setattr__(response, "created_at", made)
        store.put(FIRST._replace(sample=age), response)
        row = record(f"{age}", response_body=b"y" * 1000)
        row.started_at = made
        store.append(row)
    await store.flush()
    store.close()
    connection = sqlite3.connect(tmp_path / "b.db", isolation_level=None)
    yield connection
    connection.close()


def kept(connection: sqlite3.Connection) -> tuple[list[int], list[int]]:
    samples = [row[0] for row in connection.execute("SELECT sample FROM responses ORDER BY id")]
    return samples, [int(row[0]) for row in connection.execute("SELECT id FROM exchanges ORDER BY seq")]


ALL = list(range(10, 0, -1))


def test_everything_is_kept_by_default(db) -> None:
    enforce(db, Retention())
    assert kept(db) == (ALL, ALL)


@pytest.mark.parametrize("step", [1, 3, 500])
def test_what_is_too_old_goes(db, monkeypatch, step: int) -> None:
    monkeypatch.setattr(retention, "_STEP", step)
    enforce(db, Retention(cache_max_age_days=3.5, log_max_age_days=5.5))
    assert kept(db) == ([3, 2, 1], [5, 4, 3, 2, 1])


@pytest.mark.parametrize("step", [1, 3, 500])
def test_of_what_is_too_much_the_oldest_goes(db, monkeypatch, step: int) -> None:
    monkeypatch.setattr(retention, "_STEP", step)
    enforce(db, Retention(cache_max_bytes=3500, log_max_bytes=2500))
    assert kept(db) == ([3, 2, 1], [2, 1])
    enforce(db, Retention(cache_max_bytes=1))
    assert kept(db) == ([], [2, 1])
    enforce(db, Retention(cache_max_bytes=1))  # an empty table is not searched for ever


def test_answers_that_are_no_entries_yet_have_the_same_limits_and_an_end(db: sqlite3.Connection) -> None:
    columns = "name, key, pool, shape, created_at, size, run, identity, client, used, replaces"
    for age in (40, 20, 5, 1):
        made = time.time() - age * DAY
        db.execute(
            f"INSERT INTO unconfirmed ({columns}) VALUES (?, x'', '', '', ?, 100, '', '', '', 1, 0)", (age, made)
        )

    def left(wanted: Retention) -> list[str]:
        enforce(db, wanted)
        return [row[0] for row in db.execute("SELECT name FROM unconfirmed ORDER BY rowid")]

    assert left(Retention()) == ["20", "5", "1"]
    assert left(Retention(cache_max_age_days=10)) == ["5", "1"]
    assert left(Retention(cache_max_bytes=150)) == ["1"]
