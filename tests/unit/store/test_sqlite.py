"""What the contracts of stores do not say: several workers, what is not written yet, and what cannot be read."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.store import samples
from proxy.store.base import EntryKey, RunState, Sequence, StoreError
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import FIRST, KEY, SAMPLED, answer


@pytest.fixture
def opened(tmp_path: Path):
    stores: list[SqliteStore] = []

    def make() -> SqliteStore:
        store = SqliteStore(tmp_path / "b.db")
        store.open()
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


async def test_two_workers_never_lease_one_index_twice(opened) -> None:
    stores = [opened() for _ in range(2)]
    leases = await asyncio.gather(*(store.take(SAMPLED) for _ in range(50) for store in stores))
    assert sorted(lease.sample for lease in leases) == list(range(100))
    assert len({lease.holder for lease in leases}) == 100


async def test_a_pass_that_one_worker_begins_is_every_workers(opened) -> None:
    one, other = opened(), opened()
    assert (await one.take(SAMPLED)).sample == 0
    await one.change(lambda db: samples.new_pass(db, "run", source=None, mode="read"))
    assert await other.run("run") == RunState(1, None, "read")
    assert (await other.take(SAMPLED)).sample == 0


async def test_who_takes_next_finds_free_what_was_given_back(opened) -> None:
    store = opened()
    for _ in range(20):
        lease = await store.take(SAMPLED)
        store.settle(lease, used=False)
        assert lease.sample == 0


async def test_a_lease_that_nobody_waits_for_any_more_is_free(opened) -> None:
    store = opened()
    taking = asyncio.create_task(store.take(SAMPLED))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert taking.cancelled()
    for _ in range(2):
        await store.flush()
    assert (await store.take(SAMPLED)).sample == 0


async def test_a_lease_that_cannot_be_written_is_an_error(opened) -> None:
    store = opened()
    await store.change(lambda db: db.execute("DROP TABLE slots"))
    with pytest.raises(StoreError, match="cannot be written: no such table: slots"):
        await store.take(Sequence("r", "0", KEY))
    await store.change(lambda db: db.execute("CREATE TABLE slots (run, sequence, sample, holder)"))


async def test_what_is_not_written_yet_is_there_in_every_shape(opened) -> None:
    store = opened()
    for shape in ("plain", "sse"):
        store.put(FIRST._replace(shape=shape), answer(shape.encode()))
    assert [shape for shape, _ in await store.others(FIRST)] == ["sse"]
    assert await store.others(FIRST._replace(sample=1)) == []
    await store.flush()
    assert [(shape, found.body) for shape, found in await store.others(FIRST)] == [("sse", b"sse")]


async def test_other_shapes_can_be_read_while_the_writer_writes(opened) -> None:
    store = opened()
    for number in range(3000):
        store.put(FIRST._replace(sample=number), answer())
        if number % 100 == 0:
            store._writer.hurry_up()
        assert await store.others(FIRST._replace(sample=number)) == []


async def test_what_cannot_be_read_is_as_missing_and_counted(opened) -> None:
    store = opened()
    store.put(FIRST, answer())
    await store.flush()
    store._reader.close()
    assert (await store.run("r"), await store.identities("r")) == (RunState(), [])
    assert (await store.get(FIRST), await store.others(FIRST)) == (None, [])
    assert store.losses.cache_reads_failed == 4
    store._reader = sqlite3.connect(store.path)


def damage(store: SqliteStore, at: EntryKey) -> None:
    with closing(sqlite3.connect(store.path)) as connection, connection:
        sql = "UPDATE responses SET body = x'FF00' WHERE key = ? AND pool = ? AND sample = ? AND shape = ?"
        assert connection.execute(sql, at).rowcount == 1


async def test_a_damaged_answer_is_a_miss_once_and_the_next_one_takes_its_place(opened) -> None:
    store = opened()
    for shape in ("plain", "sse", "sse{}"):
        store.put(FIRST._replace(shape=shape), answer(shape.encode()))
    await store.flush()
    for shape in ("plain", "sse"):
        damage(store, FIRST._replace(shape=shape))
    assert [shape for shape, _ in await store.others(FIRST)] == ["sse{}"]  # one of them takes no other with it
    assert await store.get(FIRST) is None
    assert store.losses.cache_reads_failed == 2
    store.put(FIRST, answer(b"new"))
    store.put(FIRST, answer(b"newer"))
    await store.flush()
    assert await store.get(FIRST) == answer(b"new")
    assert [shape for shape, _ in await store.others(FIRST)] == ["sse{}"]
    assert (store.losses.cache_reads_failed, store.losses.cache_rows_lost) == (2, 0)


async def test_a_replacement_is_read_at_once(opened) -> None:
    store = opened()
    store.put(FIRST, answer(b"old"))
    await store.flush()
    lease = await store.claim(SAMPLED, 0)
    at = EntryKey(KEY, lease.pool, 0, "plain")
    for body, replace in ((b"1", False), (b"2", True)):
        store.settle(lease, used=True, answer=(at, answer(body)), replace=replace)
        found = await store.get(at)
        assert found is not None
        assert found.body == body


def test_a_new_database_has_larger_pages_and_another_keeps_its_own(opened, tmp_path) -> None:
    with closing(sqlite3.connect(tmp_path / "b.db")) as other:
        other.execute("PRAGMA page_size = 1024")
        other.execute("PRAGMA user_version = 1")
        opened()
        assert other.execute("PRAGMA page_size").fetchone() == (1024,)
    new = SqliteStore(tmp_path / "new.db")
    new.open()
    new.close()
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (8192,)
