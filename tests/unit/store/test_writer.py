import asyncio
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest

from proxy.store import writer as writer_module
from proxy.store.base import StoreError
from proxy.store.reading import losses, reading
from proxy.store.sqlite import SqliteStore
from proxy.store.writer import Job
from proxy.testing.contracts import FIRST, answer, record


@pytest.fixture
def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "b.db")
    opened.open()
    yield opened
    opened.close()


def ids(path: Path) -> list[str]:
    with reading(path) as db:
        return [row[0] for row in db.execute("SELECT id FROM exchanges ORDER BY seq").fetchall()]


async def test_one_bad_row_costs_only_itself(store: SqliteStore) -> None:
    store.append(record("a"))
    store.append(record("bad", status=2**80))  # an OverflowError, not an error of SQLite's
    store.append(record("b"))
    await store.flush()
    assert ids(store.path) == ["a", "b"]
    assert store.losses.log_rows_lost == 1
    assert "too large" in (store.losses.last_error or "")


@pytest.mark.parametrize("error", [TypeError, MemoryError, sqlite3.OperationalError, RuntimeError])
async def test_the_writer_survives_any_error_of_a_write(store: SqliteStore, error: type[Exception]) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        raise error("broken")

    store._writer.submit(Job(fail, 10, is_log=False))
    await store.flush()
    store.append(record("a"))
    await asyncio.wait_for(store.flush(), 5)
    assert ids(store.path) == ["a"]
    assert store.losses.cache_rows_lost == 1


async def test_the_writer_survives_an_error_of_housekeeping(tmp_path: Path, monkeypatch) -> None:
    def fail(*args: object) -> None:
        raise KeyError("broken")

    monkeypatch.setattr("proxy.store.sqlite.enforce", fail)
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    store.append(record("a"))
    await asyncio.wait_for(store.flush(), 5)
    store.close()
    assert ids(store.path) == ["a"]


def test_the_writer_survives_a_flush_whose_loop_is_gone(store: SqliteStore) -> None:
    blocked, release = threading.Event(), threading.Event()

    def block(connection: sqlite3.Connection) -> None:
        blocked.set()
        release.wait(5)

    async def give_up() -> None:
        store._writer.submit(Job(block, 1, is_log=False))
        assert await asyncio.to_thread(blocked.wait, 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.flush(), 0.01)

    asyncio.run(give_up())
    release.set()
    store.append(record("a"))
    asyncio.run(asyncio.wait_for(store.flush(), 5))
    assert ids(store.path) == ["a"]


async def test_log_rows_are_shed_before_answers_and_counted(store: SqliteStore, monkeypatch) -> None:
    monkeypatch.setattr(writer_module, "LOG_BACKLOG", 2000)
    release = threading.Event()
    store._writer.submit(Job(lambda connection: release.wait(5), 1, is_log=False))
    for number in range(10):
        store.append(record(f"{number}", response_body=b"x" * 600))
        store.put(FIRST._replace(sample=number), answer(b"y" * 600))
    release.set()
    await store.flush()
    assert len(ids(store.path)) + store.losses.log_rows_shed == 10
    assert store.losses.log_rows_shed >= 7
    assert [await store.get(FIRST._replace(sample=number)) for number in range(10)].count(None) == 0
    with reading(store.path) as db:
        assert losses(db) == {"log_rows_shed": store.losses.log_rows_shed}
    assert set(store.unsaved_losses().values()) == {0}


async def test_requests_wait_while_answers_pile_up(store: SqliteStore, monkeypatch) -> None:
    monkeypatch.setattr(writer_module, "CACHE_BACKLOG", 100)
    release = threading.Event()
    store._writer.submit(Job(lambda connection: release.wait(5), 200, is_log=False))
    waiting = asyncio.create_task(store.room())
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    assert await store.get(FIRST) is None  # who only reads adds nothing
    release.set()
    await asyncio.wait_for(waiting, 5)


async def test_a_lock_held_by_another_process_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("proxy.store.sqlite._BUSY", 0.05)
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.append(record("a"))
    flushed = asyncio.create_task(store.flush())
    await asyncio.wait({flushed}, timeout=0.07)
    other.execute("COMMIT")
    await asyncio.wait_for(flushed, 5)
    assert ids(store.path) == ["a"]

    other.execute("BEGIN IMMEDIATE")  # and not for ever
    store.append(record("b"))
    store.put(FIRST, answer())
    await asyncio.wait_for(store.flush(), 5)
    assert (store.losses.log_rows_lost, store.losses.cache_rows_lost) == (1, 1)
    other.execute("COMMIT")
    other.close()
    store.append(record("c"))
    await store.flush()
    store.close()
    assert ids(store.path) == ["a", "c"]
    with reading(store.path) as db:
        assert losses(db) == {"log_rows_lost": 1, "cache_rows_lost": 1}


async def test_an_answer_that_cannot_be_read_is_a_miss_and_counted(store: SqliteStore) -> None:
    store.put(FIRST, answer())
    await store.flush()
    other = sqlite3.connect(store.path)
    other.execute("UPDATE responses SET body = x'FF00'")
    other.commit()
    other.close()
    assert await store.get(FIRST) is None
    assert store.losses.cache_reads_failed == 1


def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    for number in range(100):
        store.append(record(f"{number}"))
    store.close()
    assert len(ids(store.path)) == 100


async def test_a_full_disk_loses_new_rows_only_and_writing_resumes(store: SqliteStore) -> None:
    store.put(FIRST, answer(b"before"))
    store.append(record("before"))
    await store.flush()
    limited = threading.Event()

    def limit(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        limited.set()

    store._writer.submit(Job(limit, 1, is_log=False))
    await store.flush()
    assert limited.is_set()
    noise = bytes(hash((number, 7)) & 0xFF for number in range(200_000))
    store.put(FIRST._replace(sample=1), answer(noise))
    store.append(record("during", response_body=noise))
    await store.flush()
    assert (store.losses.cache_rows_lost, store.losses.log_rows_lost) == (1, 1)
    assert "full" in (store.losses.last_error or "")
    store._writer.submit(Job(lambda db: db.execute("PRAGMA max_page_count = 1000000"), 1, is_log=False))
    store.append(record("after"))
    await store.flush()
    assert ids(store.path) == ["before", "after"]
    assert await store.get(FIRST) == answer(b"before")


class Held:
    """Keeps the writer's thread busy, so that what is asked of it meanwhile piles up."""

    def __init__(self, store: SqliteStore) -> None:
        self._busy, self._release = threading.Event(), threading.Event()
        self._held = store._writer.transact(self._hold)

    def _hold(self, connection: sqlite3.Connection) -> None:
        self._busy.set()
        self._release.wait(5)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._busy.wait, 5)

    async def release(self) -> None:
        self._release.set()
        await self._held


async def test_a_transaction_is_done_ahead_of_the_queue(store: SqliteStore) -> None:
    await store.flush()
    held = Held(store)
    await held.begun()
    store.append(record("queued"))
    count = store._writer.transact(lambda db: db.execute("SELECT count(*) FROM exchanges").fetchone()[0])
    await held.release()
    assert await count == 0
    await store.flush()
    assert ids(store.path) == ["queued"]


async def test_a_transaction_behind_what_hurries_sees_it(store: SqliteStore) -> None:
    held = Held(store)
    await held.begun()
    store.append(record("hurried"))
    store._writer.hurry_up()
    count = store._writer.transact(lambda db: db.execute("SELECT count(*) FROM exchanges").fetchone()[0])
    await held.release()
    assert await count == 1


def _told(number: int, connection: sqlite3.Connection) -> int:
    return number


async def test_transactions_that_wait_together_are_committed_together(store: SqliteStore) -> None:
    statements: list[str] = []
    await store._writer.transact(lambda db: db.set_trace_callback(statements.append))
    held = Held(store)
    await held.begun()
    waiting = [store._writer.transact(partial(_told, number)) for number in range(5)]
    await held.release()
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3, 4]
    assert statements.count("BEGIN IMMEDIATE") == 2  # what held the thread, and the five


async def test_one_that_fails_among_several_fails_alone(store: SqliteStore) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO losses (name, rows) VALUES ('half', 1)")
        raise OverflowError("too large")

    held = Held(store)
    await held.begun()
    waiting = [store._writer.transact(write) for write in (lambda db: "a", fail, lambda db: "b")]
    await held.release()
    first, failed, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, StoreError)
    assert str(failed) == "the store cannot be written: too large"
    with reading(store.path) as db:
        assert losses(db) == {}


async def test_a_database_that_is_locked_is_waited_for_once_and_not_for_each(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("proxy.store.sqlite._BUSY", 0.05)
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    await store.flush()
    tried: list[int] = []
    commit = store._writer._commit

    def counted(connection: sqlite3.Connection, jobs: list[Job]) -> Exception | None:
        tried.append(len(jobs))
        return commit(connection, jobs)

    monkeypatch.setattr(store._writer, "_commit", counted)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = [store._writer.transact(lambda db: None) for _ in range(50)]
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(answer) for answer in answers} == {"the store cannot be written: database is locked"}
    assert len(tried) <= 2  # what came before the thread looked, and the rest
    other.execute("COMMIT")
    other.close()
    store.close()


async def test_who_waits_may_leave(store: SqliteStore) -> None:
    held = Held(store)
    await held.begun()
    waiting = store._writer.transact(lambda db: "nobody")
    waiting.cancel()
    await held.release()
    assert await store._writer.transact(lambda db: "next") == "next"
