import sqlite3

import pytest

from proxy.store.base import StoreError
from proxy.store.memories import amend, recall, remember
from proxy.store.memory import MemoryStore
from proxy.store.schema import migrate
from proxy.store.sqlite import SqliteStore

AT = ("run", "kind", "key")


@pytest.fixture
def db():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    yield connection
    connection.close()


@pytest.fixture
def opened(tmp_path):
    stores = []

    def make() -> SqliteStore:
        store = SqliteStore(tmp_path / "store.db")
        store.open()
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.close()


def test_the_last_value_is_recalled(db):
    assert recall(db, AT) is None
    remember(db, AT, "a", 1.0, None)
    remember(db, AT, "b", 2.0, None)
    remember(db, ("other", "kind", "key"), "c", 3.0, None)
    assert recall(db, AT) == "b"


def test_the_oldest_are_forgotten(db):
    for number in range(10):
        remember(db, ("run", "kind", str(number)), "x", float(number), 2)
    assert [recall(db, ("run", "kind", str(number))) for number in range(8)] == [None] * 8
    assert recall(db, ("run", "kind", "9")) == "x"


def test_a_value_is_made_of_the_one_before(db):
    assert amend(db, AT, lambda before: f"{before}!", 1.0) == "None!"
    assert amend(db, AT, lambda before: f"{before}!", 2.0) == "None!!"
    assert recall(db, AT) == "None!!"


def test_a_value_that_stays_is_not_written_again(db):
    remember(db, AT, "a", 1.0, None)
    assert amend(db, AT, lambda before: "a", 9.0) == "a"
    assert db.execute("SELECT at FROM memory").fetchall() == [(1.0,)]


async def test_two_workers_amend_one_after_the_other(opened):
    one, other = opened(), opened()
    for store in (one, other, one):
        await store.amend("run", "kind", "key", lambda before: f"{before or ''}x")
    assert (one.recall("run", "kind", "key"), other.recall("run", "kind", "key")) == ("xxx", "xxx")


async def test_the_default_run_has_its_memory(opened):
    for store in (opened(), MemoryStore()):
        assert await store.amend(None, "kind", "key", lambda before: before or "a") == "a"
        assert store.recall("default", "kind", "key") == "a"


async def test_what_cannot_be_written_is_an_error(opened):
    store = opened()
    await store.change(lambda db: db.execute("DROP TABLE memory"))
    with pytest.raises(StoreError, match="no such table: memory"):
        await store.amend("run", "kind", "key", lambda before: "a")
    await store.change(lambda db: db.execute("CREATE TABLE memory (run, kind, key, value, at)"))
