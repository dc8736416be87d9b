"""What a batch that is given up leaves to be written later: ends of leases and counts."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store import writer as writer_module
from proxy.store.base import Candidate, EntryKey
from proxy.store.reading import losses, reading
from proxy.store.sqlite import SqliteStore
from proxy.store.writer import Job
from proxy.testing.contracts import FIRST, SAMPLED, answer
from tests.waiting import wait_for


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
async def locked(tmp_path: Path, monkeypatch):
    """A store whose database another process keeps locked, until its lock is let go."""
    monkeypatch.setattr("proxy.store.sqlite._BUSY", 0.02)
    monkeypatch.setattr(writer_module, "_RETRY", 0.01)
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    await store.flush()
    other = sqlite3.connect(store.path, isolation_level=None)
    yield store, other
    other.close()
    store.close()


async def test_leases_and_counts_of_a_batch_that_is_given_up_are_written_later(locked) -> None:
    store, other = locked
    used, kept, free = [await store.take(SAMPLED) for _ in range(3)]
    other.execute("BEGIN IMMEDIATE")
    store.settle(used, used=True)
    store.settle(kept, used=True, answer=(EntryKey(SAMPLED.key, kept.pool, kept.sample, "plain"), answer()))
    store.settle(free, used=False)
    store.count("run", FIRST, served=True)
    store.saw("run", "x", "vllm", {})
    store.observe("run", {"responses": 1})
    await asyncio.wait_for(store.flush(), 5)
    assert (store.losses.cache_rows_lost, store.losses.notes_lost) == (1, 0)  # the answer, and nothing else
    other.execute("COMMIT")
    store.count("run", FIRST, served=True)
    await store.flush()
    with reading(store.path) as db:
        assert db.execute("SELECT served FROM uses").fetchone()[0] == 2
        assert db.execute("SELECT identity FROM run_identities").fetchone()[0] == "x"
        assert losses(db) == {"cache_rows_lost": 1}
    assert store.observed("run", "responses") == 1
    assert [(await store.take(SAMPLED)).sample for _ in range(3)] == [1, 2, 3]  # the lost answer's is the next one's


async def test_what_is_owed_is_written_without_further_traffic(locked) -> None:
    store, other = locked
    lease = await store.take(SAMPLED)
    other.execute("BEGIN IMMEDIATE")
    store.settle(lease, used=False)
    await asyncio.wait_for(store.flush(), 5)
    other.execute("COMMIT")
    freed = "SELECT count(*) FROM slots WHERE holder IS NULL"
    await asyncio.to_thread(wait_for, lambda: rows(store.path, freed) == [(1,)])
    assert (await store.take(SAMPLED)).sample == lease.sample


async def test_no_more_is_owed_than_is_bounded_and_the_rest_is_counted(locked, monkeypatch) -> None:
    store, other = locked
    monkeypatch.setattr(writer_module, "OWED", 2)
    leases = [await store.take(SAMPLED) for _ in range(4)]
    other.execute("BEGIN IMMEDIATE")
    for lease in leases:
        store.settle(lease, used=False)
    await asyncio.wait_for(store.flush(), 5)
    assert store.losses.notes_lost == 2
    other.execute("COMMIT")


async def test_what_is_owed_and_never_can_be_written_is_counted(locked) -> None:
    store, other = locked

    def fail(connection: sqlite3.Connection) -> None:
        raise OverflowError("too large")

    other.execute("BEGIN IMMEDIATE")
    store._writer.submit(Job(lambda db: db.execute("SELECT 1"), 0, is_log=False, owed=fail))
    store.count("run", FIRST, served=True)
    await asyncio.wait_for(store.flush(), 5)
    other.execute("COMMIT")
    await store.flush()
    assert (store.losses.cache_rows_lost, store.losses.notes_lost) == (1, 1)
    with reading(store.path) as db:
        assert db.execute("SELECT served FROM uses").fetchone()[0] == 1


async def test_a_note_that_is_wrong_in_itself_is_counted(locked) -> None:
    store, _ = locked
    await store.change(lambda db: db.execute("DROP TABLE verifications"))
    store.verified("run", bytes(32), None)
    await store.flush()
    assert (store.losses.notes_lost, store.losses.cache_rows_lost) == (1, 0)


async def test_what_is_owed_at_the_end_is_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("proxy.store.sqlite._BUSY", 0.02)
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    await store.flush()
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.count("run", FIRST, served=True)
    await asyncio.wait_for(store.flush(), 5)
    store.close()
    assert store.losses.notes_lost == 1
    other.close()


@pytest.mark.parametrize("kept", [True, False])
async def test_an_answer_that_waits_for_its_decision_outlasts_a_batch_that_is_given_up(locked, kept: bool) -> None:
    store, other = locked
    lease = await store.take(SAMPLED)
    it = Candidate(EntryKey(SAMPLED.key, lease.pool, 0, "plain"), answer(), lease=lease)
    other.execute("BEGIN IMMEDIATE")
    store.hold(it)
    await asyncio.wait_for(store.flush(), 5)
    other.execute("COMMIT")
    assert ((await store.take(SAMPLED)).sample, store.losses.cache_rows_lost) == (1, 0)
    store.decide(it, kept=kept)
    await store.flush()
    assert rows(store.path, "SELECT count(*) FROM responses") == [(kept,)]
    assert (await store.get(it.at) is not None) is kept
    assert (await store.take(SAMPLED)).sample == (2 if kept else 0)
