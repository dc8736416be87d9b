import asyncio
import dataclasses
import sqlite3
from contextlib import closing

import pytest

from proxy.store import front
from proxy.store.base import POOLED, EntryKey, StoredResponse
from proxy.store.front import Keys
from proxy.store.rows import write_response
from proxy.store.sqlite import SqliteStore
from tests.waiting import wait_for


def entry(number, pool=POOLED):
    return EntryKey(bytes([number]) * 32, pool, 0, "plain")


def said(text, created_at=1.0):
    return StoredResponse(200, [], text, "chat", b"{}", 1.0, created_at)


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "evalside.db")
    made.open()
    yield made
    made.close()


@pytest.fixture
def other(store):
    """Another process that works on the same database."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def statements(store):
    """What is asked of the database from here on."""
    seen = []
    store._reader.set_trace_callback(lambda sql: seen.append(sql.split(" FROM")[0]))
    return seen


async def turn():
    """Let the event loop take a turn: what is committed meanwhile has to be noticed."""
    await asyncio.sleep(0)


async def test_what_was_never_written_is_not_looked_for(store, statements):
    assert await store.get(entry(1)) is None
    assert await store.others(entry(1)) == []
    assert await store.get(entry(2)) is None
    assert [sql for sql in statements if "status" in sql] == []
    assert statements.count("PRAGMA data_version") == 1  # in one turn of the loop nothing new can be asked


async def test_what_another_process_wrote_is_found(store, other):
    assert await store.get(entry(1)) is None
    write_response(other, entry(1), said(b"theirs"))
    await turn()
    assert (await store.get(entry(1))).body == b"theirs"


async def test_an_answer_that_was_read_is_served_from_memory(store, statements):
    store.put(entry(1), said(b"ours"))
    await store.flush()
    first = await store.get(entry(1))
    await turn()
    before = len(statements)
    assert await store.get(entry(1)) is first
    assert statements[before:] == ["PRAGMA data_version"]


async def test_a_commit_of_something_else_costs_one_look_at_the_row(store, other, statements):
    store.put(entry(1), said(b"ours"))
    await store.flush()
    first = await store.get(entry(1))
    write_response(other, entry(2), said(b"theirs"))
    await turn()
    before = len(statements)
    assert await store.get(entry(1)) is first
    assert await store.get(entry(1)) is first
    assert statements[before:].count("SELECT id, created_at, upstream_ms") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda db: db.execute("DELETE FROM responses"),
        lambda db: write_response(db, entry(1), said(b"newer", created_at=2.0), replace=True),
    ],
    ids=["deleted", "replaced"],
)
async def test_what_another_process_deletes_or_replaces_is_never_served_again(store, other, change):
    store.put(entry(1), said(b"ours"))
    await store.flush()
    assert (await store.get(entry(1))).body == b"ours"
    await turn()
    change(other)
    found = await store.get(entry(1))
    assert found is None or found.body == b"newer"
    await turn()
    write_response(other, entry(1), said(b"newest", created_at=3.0), replace=True)
    assert (await store.get(entry(1))).body == b"newest"


async def test_what_is_refreshed_here_is_never_served_again(store):
    store.put(entry(1), said(b"old"))
    await store.flush()
    assert (await store.get(entry(1))).body == b"old"
    store.put(entry(1), said(b"new", created_at=2.0), replace=True)
    assert (await store.get(entry(1))).body == b"new"
    await store.flush()
    assert (await store.get(entry(1))).body == b"new"


async def test_keys_are_learned_again_where_the_newest_rows_were_deleted(store, other):
    for number in range(1, 5):
        write_response(other, entry(number), said(b"old"))
    assert await store.get(entry(9)) is None
    await turn()
    other.execute("DELETE FROM responses")
    for number in (5, 6):  # with the numbers of the rows that are gone
        write_response(other, entry(number), said(b"new"))
    for number in (5, 6):
        assert (await store.get(entry(number))).body == b"new"
        await turn()


async def test_what_is_not_learned_yet_is_looked_for(store, other, monkeypatch):
    monkeypatch.setattr(front, "_STEP", 2)
    monkeypatch.setattr(front, "_LEARN", front._LEARN.replace("LIMIT 1000", "LIMIT 2"))
    for number in range(1, 8):
        write_response(other, entry(number), said(b"old"))
    assert (await store.get(entry(7))).body == b"old"
    for _ in range(4):
        await turn()
        assert await store.get(entry(9)) is None
    assert store._front._learned


async def test_samples_and_what_is_too_large_are_not_held(store, monkeypatch):
    monkeypatch.setattr(front, "LARGEST", 16_000)
    for at, text in ((entry(1, "r/1"), b"sample"), (entry(2), b"x" * 3000)):
        store.put(at, said(text))
        await store.flush()
        assert (await store.get(at)).body == text
    assert not store._front._held


async def test_the_oldest_go_where_there_are_too_many(store, monkeypatch):
    monkeypatch.setattr(front, "LARGEST", 10_000)
    for number in range(1, 13):
        store.put(entry(number), said(b"x"))
    await store.flush()
    for number in range(1, 13):
        await store.get(entry(number))
        assert await store.get(entry(1)) is not None  # used all the time, so never the oldest
    held = store._front._held
    assert entry(1) in held
    assert entry(2) not in held
    assert store._front._size == sum(item.size for item in held.values()) <= 10_000


def test_keys_forgets_none():
    keys = Keys()
    made = [bytes([a, b]) * 16 for a in range(40) for b in range(40)]
    for key in made[::2]:
        keys.add(key)
    assert all(key in keys for key in made[::2])
    assert sum(key in keys for key in made[1::2]) < 5


async def test_what_is_refreshed_here_and_written_meanwhile_is_never_served_again(store):
    """The writer may be done in the same turn of the event loop, in which the database has been looked at before."""
    store.put(entry(1), said(b"old"))
    await store.flush()
    assert (await store.get(entry(1))).body == b"old"
    store.put(entry(1), said(b"new"), replace=True)  # at the same time, and into the same row
    store._writer.hurry_up()
    wait_for(lambda: not store._replacing)
    assert (await store.get(entry(1))).body == b"new"


async def test_an_answer_in_another_shape_is_not_served_from_memory_where_one_is_refreshed(store):
    streamed = entry(1)._replace(shape="sse")
    store.put(streamed, said(b"old"))
    await store.flush()
    assert (await store.get(streamed)).body == b"old"
    store.put(entry(1), said(b"new"), replace=True)
    store._writer.hurry_up()
    wait_for(lambda: not store._replacing)
    assert await store.get(streamed) is None
    assert [(shape, found.body) for shape, found in await store.others(streamed)] == [("plain", b"new")]


async def test_what_takes_the_row_of_another_at_the_same_time_is_not_taken_for_it(store, other):
    store.put(entry(1), said(b"ours"))
    await store.flush()
    assert (await store.get(entry(1))).body == b"ours"
    await turn()
    write_response(other, entry(1), dataclasses.replace(said(b"theirs"), upstream_ms=2.0), replace=True)
    assert (await store.get(entry(1))).body == b"theirs"


async def test_keys_are_learned_again_where_the_newest_row_is_of_the_same_key(store, other):
    for number in range(1, 4):
        write_response(other, entry(number), said(b"old"))
    assert await store.get(entry(9)) is None
    await turn()
    other.execute("DELETE FROM responses")
    for number in (7, 8, 3):  # the third row has the key that it had
        write_response(other, entry(number), said(b"new", created_at=2.0))
    for number in (7, 8, 3):
        assert (await store.get(entry(number))).body == b"new"
        await turn()


async def test_a_database_that_is_vacuumed_is_the_same(store, other):
    for number in range(1, 6):
        write_response(other, entry(number), said(b"%d" % number))
    assert (await store.get(entry(5))).body == b"5"
    await turn()
    other.execute("DELETE FROM responses WHERE id < 4")
    other.execute("VACUUM")
    write_response(other, entry(6), said(b"6"))
    assert [found and found.body for found in [await store.get(entry(number)) for number in range(1, 7)]] == [
        None,
        None,
        None,
        b"4",
        b"5",
        b"6",
    ]


async def test_what_another_process_decides_to_keep_is_found(store, other):
    """It comes into the table at once with all that it left: behind a key that this one knows to be missing."""
    assert await store.get(entry(1)) is None
    other.execute("BEGIN IMMEDIATE")
    for number in range(1, 4):
        write_response(other, entry(number), said(b"theirs"))
    await turn()
    assert await store.get(entry(1)) is None  # nobody has it yet
    other.execute("COMMIT")
    await turn()
    assert (await store.get(entry(1))).body == b"theirs"
