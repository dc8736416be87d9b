"""Answers that are not decided on yet, in the database and in the process."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store import samples
from proxy.store.base import NOBODY, Asker, Candidate, EntryKey, KeySource, Sequence, StoredResponse
from proxy.store.inventory import Prune, prune
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import answer

OF = Sequence("r", "0123", bytes(32))
ASKER = Asker("m", "key")
HERE, ELSEWHERE = "http://here vllm 1", "http://elsewhere vllm 1"
NOW = time.time()
POOLED = EntryKey(bytes(32), "", 0, "plain")


def knows(name: str) -> bool:
    return name.startswith("http://here ")


def said(text: bytes, identity: str = HERE) -> StoredResponse:
    made = answer(text)
    source = KeySource(identity, "POST", "/v1/chat/completions", "", [("openai-beta", "x")])
    return dataclasses.replace(made, source=source, run="r", created_at=NOW)


def candidate(text: bytes = b"a", at: EntryKey = POOLED, identity: str = HERE, **options: Any) -> Candidate:
    return Candidate(at, said(text, identity), ASKER, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "b.db"


def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    store.open()
    return store


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    made = opened(path)
    yield made
    made.close()


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def undecided(path: Path) -> int:
    return int(rows(path, "SELECT count(*) FROM unconfirmed")[0][0])


async def test_what_is_held_is_on_the_disk_and_nobody_finds_it(store: SqliteStore, path: Path) -> None:
    it = candidate()
    store.hold(it)
    await store.flush()
    assert (undecided(path), await store.get(POOLED), await store.others(POOLED._replace(shape="sse"))) == (1, None, [])
    store.decide(it, kept=True)
    assert (await store.get(POOLED)).body == b"a"  # type: ignore[union-attr]
    await store.flush()
    assert (undecided(path), (await store.get(POOLED)).body) == (0, b"a")  # type: ignore[union-attr]


async def test_what_is_decided_before_the_writer_comes_is_never_held(store: SqliteStore, path: Path) -> None:
    it, other = candidate(), candidate(at=POOLED._replace(key=b"o" * 32))
    for held, kept in ((it, True), (other, False)):
        store.hold(held)
        store.decide(held, kept=kept)
    await store.flush()
    assert (it.name, other.name, undecided(path)) == ("", "", 0)
    assert (await store.get(POOLED)).body == b"a"  # type: ignore[union-attr]
    assert await store.get(other.at) is None


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(
    ("kept", "used", "upcoming"), [(True, True, 1), (True, False, 0), (False, True, 0), (False, False, 0)]
)
async def test_a_lease_ends_with_the_decision(
    store: SqliteStore, path: Path, written: bool, kept: bool, used: bool, upcoming: int
) -> None:
    lease = await store.take(OF)
    it = candidate(at=EntryKey(OF.key, lease.pool, 0, "plain"), lease=lease, used=used)
    store.hold(it)
    if written:
        await store.flush()
        assert (undecided(path), (await store.take(OF)).sample) == (1, 1)
        upcoming = 2 if upcoming else 0
    store.decide(it, kept=kept)
    assert (await store.take(OF)).sample == upcoming
    await store.flush()
    assert undecided(path) == 0
    assert (await store.get(it.at) is not None) is kept


async def test_what_replaces_another_hides_it_from_its_decision_on(store: SqliteStore, path: Path) -> None:
    store.put(POOLED, said(b"old"))
    await store.flush()
    for text, kept, expected in ((b"no", False, b"old"), (b"new", True, b"new")):
        it = candidate(text, replaces=True)
        store.hold(it)
        await store.flush()
        assert (await store.get(POOLED)).body == b"old"  # type: ignore[union-attr]
        store.decide(it, kept=kept)
        assert (await store.get(POOLED)).body == expected  # type: ignore[union-attr]
        await store.flush()
        assert (await store.get(POOLED)).body == expected  # type: ignore[union-attr]
    assert rows(path, "SELECT count(*) FROM responses") == [(1,)]


async def left_by_one_that_died(path: Path, *held: Candidate) -> SqliteStore:
    """A store that opens where another process held these, and ended before they were decided on."""
    dead = opened(path)
    for it in held:
        if it.at.pool != "" and it.at.sample is not None:
            lease = await dead.take(OF)
            it.at, it.lease = EntryKey(OF.key, lease.pool, lease.sample, "plain"), lease
        dead.hold(it)
    await dead.flush()
    dead.close()
    return opened(path)


async def test_what_was_left_is_kept_where_the_same_model_server_is_there(path: Path) -> None:
    sampled = [candidate(b"0", POOLED._replace(pool="r")), candidate(b"1", POOLED._replace(pool="r"), used=False)]
    unnamed = candidate(b"d", EntryKey(bytes(32), "default", None, "plain"))
    store = await left_by_one_that_died(path, candidate(), *sampled, unnamed)
    assert store.left == {ASKER}
    assert (await store.take(OF)).sample == 2  # neither is free
    await store.adopt(ASKER, HERE, knows)
    assert (len(store.left), undecided(path)) == (0, 0)
    assert (await store.get(POOLED)) == candidate().response
    assert [(await store.get(it.at)).body for it in sampled] == [b"0", b"1"]  # type: ignore[union-attr]
    assert (await store.get(unnamed.at._replace(sample=0))).body == b"d"  # type: ignore[union-attr]
    assert (await store.take(OF)).sample == 1  # its client left before it had it
    assert rows(path, "SELECT pool, sample, asked, served FROM uses ORDER BY pool, sample") == [
        ("", 0, 1, 0),
        ("r/0123", 0, 1, 0),
        ("r/0123", 1, 1, 0),
    ]
    store.close()


async def test_what_was_left_by_another_model_server_is_dropped_and_counted(path: Path) -> None:
    other = candidate(b"1", POOLED._replace(key=b"o" * 32), identity=ELSEWHERE)
    store = await left_by_one_that_died(path, candidate(b"0", POOLED._replace(pool="r")), other)
    await store.adopt(ASKER, "http://here vllm 2", knows)
    await store.flush()
    assert store.losses.answers_unconfirmed == 1
    assert rows(path, "SELECT identity FROM unconfirmed") == [(ELSEWHERE,)]  # of which nothing is known
    assert rows(path, "SELECT count(*) FROM responses") == rows(path, "SELECT count(*) FROM uses") == [(0,)]
    assert (await store.take(OF)).sample == 0
    store.close()


async def test_nobody_looks_twice_for_what_another_url_gave(path: Path) -> None:
    store = await left_by_one_that_died(path, candidate(identity=ELSEWHERE))
    await store.adopt(ASKER, HERE, knows)
    await store.look()
    assert (undecided(path), store.left) == (1, frozenset())
    other = opened(path)
    assert other.left == {ASKER}
    other.close()
    store.close()


async def test_what_is_left_by_one_that_is_killed_while_others_work_is_found_before_a_pass(
    store: SqliteStore, path: Path
) -> None:
    killed = opened(path)
    killed.hold(candidate())
    await killed.flush()
    os.close(killed._worker._descriptor)  # as its end would; the file stays
    assert store.left == frozenset()
    await asyncio.wait_for(store.decided("r"), 1)  # it waits for no dead one
    await store.look()
    assert store.left == {ASKER}
    await store.adopt(ASKER, HERE, knows)
    assert (await store.get(POOLED)).body == b"a"  # type: ignore[union-attr]
    killed._writer.close()
    killed._reader.close()


@pytest.mark.parametrize("asker", [NOBODY, Asker("m", ""), Asker(None, "key"), Asker("other", "key")])
async def test_nobody_else_decides(path: Path, asker: Asker) -> None:
    store = await left_by_one_that_died(path, candidate())
    await store.adopt(asker, HERE, knows)
    assert (undecided(path), store.left) == (1, {ASKER})
    store.close()


async def test_what_a_living_process_holds_is_its_own(store: SqliteStore, path: Path) -> None:
    store.hold(candidate())
    await store.flush()
    other = opened(path)
    assert other.left == frozenset()
    await other.adopt(ASKER, HERE, knows)
    assert undecided(path) == 1
    other.close()


async def test_two_that_decide_at_once_keep_it_once(path: Path) -> None:
    one = await left_by_one_that_died(path, candidate(b"d", EntryKey(bytes(32), "default", None, "plain")))
    other = opened(path)
    await asyncio.gather(*(store.adopt(ASKER, HERE, knows) for store in (one, other)))
    assert rows(path, "SELECT count(*) FROM responses") == [(1,)]
    for store in (one, other):
        store.close()


async def test_a_damaged_one_goes_and_its_sample_is_free(path: Path) -> None:
    (await left_by_one_that_died(path, candidate(b"0", POOLED._replace(pool="r")), candidate())).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE unconfirmed SET body = x'ff00'")
    store = opened(path)
    await store.adopt(ASKER, HERE, knows)
    await store.flush()
    assert (undecided(path), store.losses.cache_reads_failed, await store.get(POOLED)) == (0, 2, None)
    assert (await store.take(OF)).sample == 0
    store.close()


async def test_a_pass_that_gave_its_sample_away_keeps_that_one(path: Path) -> None:
    store = await left_by_one_that_died(path, candidate(b"old", POOLED._replace(pool="r")))
    await store.change(lambda db: samples.new_pass(db, "r", source=None, mode=None))
    lease = await store.take(OF)
    store.settle(lease, used=True, answer=(EntryKey(OF.key, lease.pool, 0, "plain"), said(b"new")))
    await store.adopt(ASKER, HERE, knows)
    assert (await store.get(EntryKey(OF.key, lease.pool, 0, "plain"))).body == b"new"  # type: ignore[union-attr]
    store.close()


async def test_a_deleted_run_takes_them_along(path: Path) -> None:
    store = await left_by_one_that_died(path, candidate(b"0", POOLED._replace(pool="r")), candidate())
    await store.change(lambda db: samples.delete_run(db, "r"))
    assert rows(path, "SELECT pool FROM unconfirmed") == [("",)]  # which is everyone's
    store.close()


async def test_nothing_is_lost_with_one_that_cannot_be_held(store: SqliteStore, path: Path, monkeypatch) -> None:
    def refuse(*args: object) -> None:
        raise sqlite3.OperationalError("no")

    lease = await store.take(OF)
    it = candidate(at=EntryKey(OF.key, lease.pool, 0, "plain"), lease=lease)
    with monkeypatch.context() as patched:
        patched.setattr("proxy.store.unconfirmed._hold", refuse)
        store.hold(it)
        await store.flush()
    assert (undecided(path), store.losses.cache_rows_lost, (await store.take(OF)).sample) == (0, 0, 1)
    store.decide(it, kept=True)
    await store.flush()
    assert (await store.get(it.at)).body == b"a"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wanted", "left"),
    [(Prune(identity=HERE), 1), (Prune(older_than=0), 0), (Prune(max_bytes=1), 2), (Prune(run="r"), 1)],
)
async def test_what_is_pruned_does_not_come_back(path: Path, wanted: Prune, left: int) -> None:
    other = candidate(at=POOLED._replace(key=b"o" * 32), identity=ELSEWHERE)
    run = candidate(b"0", POOLED._replace(pool="r"), identity=ELSEWHERE if wanted.identity else HERE)
    held = (other, run) if wanted.run else (candidate(), other)
    (await left_by_one_that_died(path, *held)).close()
    prune(path, wanted)
    assert undecided(path) == left


async def test_a_new_pass_waits_for_the_answers_of_the_one_before(store: SqliteStore, path: Path) -> None:
    other = opened(path)
    held = candidate(), candidate(at=POOLED._replace(key=b"o" * 32))
    for owner, it in zip((store, other), held, strict=True):
        owner.hold(it)
        await owner.flush()
    await store.decided("another run")
    waiting = asyncio.create_task(store.decided("r"))
    for owner, it in zip((other, store), reversed(held), strict=True):
        await asyncio.sleep(0)
        assert not waiting.done()
        owner.decide(it, kept=True)
        await owner.flush()
    await asyncio.wait_for(waiting, 5)
    other.close()


async def test_a_new_pass_waits_for_an_answer_of_the_last_moment_and_replays_it(store: SqliteStore) -> None:
    lease = await store.take(OF)
    it = candidate(at=EntryKey(OF.key, lease.pool, 0, "plain"), lease=lease)
    store.hold(it)
    waiting = asyncio.create_task(store.decided("r"))
    await store.flush()
    await asyncio.sleep(0.05)
    assert not waiting.done()
    store.decide(it, kept=True)
    await asyncio.wait_for(waiting, 5)
    await store.change(lambda db: samples.new_pass(db, "r", source=None, mode=None))
    await store.take(OF)
    await store.flush()
    assert (await store.get(it.at)).body == b"a"  # type: ignore[union-attr]


async def test_it_waits_for_nobody_who_is_gone_and_not_for_ever(path: Path, monkeypatch) -> None:
    store = await left_by_one_that_died(path, candidate())
    await store.decided("r")
    monkeypatch.setattr("proxy.store.unconfirmed.PATIENCE", 0)
    store.hold(candidate())
    await store.flush()
    await store.decided("r")
    assert undecided(path) == 2
    store.close()


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("replaces", [True, False])
async def test_what_was_confirmed_is_the_entry_that_was_given_also_where_it_could_not_be_held(
    store: SqliteStore, path: Path, replaces: bool, written: bool
) -> None:
    at = POOLED._replace(sample=None)
    if replaces:
        store.put(POOLED, said(b"before"))
        at = POOLED
    it = candidate(b"x" * 5000, at, replaces=replaces)
    store.hold(it)
    await store.flush()
    if not written:
        await store.change(lambda db: db.execute("DELETE FROM unconfirmed"))
    store.decide(it, kept=True)
    await store.flush()
    assert await store.get(POOLED) == it.response
    assert rows(path, "SELECT count(*), sum(identity = ?1) FROM responses".replace("?1", f"'{HERE}'")) == [(1, 1)]
    assert rows(path, "SELECT count(*) FROM unconfirmed") == [(0,)]
