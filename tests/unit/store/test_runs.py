"""Runs and their passes, in real databases."""

import time

import pytest

from proxy.store import reading, runs
from proxy.store.base import ExchangeRecord
from proxy.store.runs import NewPass, begin
from proxy.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path):
    made = SqliteStore(tmp_path / "evalside.db")
    made.open()
    yield made
    made.close()


def log(store: SqliteStore, run: str) -> None:
    store.append(ExchangeRecord(f"x{time.monotonic_ns()}", run, 1.0, "POST", "/v1/chat/completions", "chat"))


async def test_passes_count_from_0(store) -> None:
    assert await store.change(lambda db: begin(db, "r", NewPass(mode="replay"))) == 0
    assert await store.change(lambda db: begin(db, "r", NewPass())) == 1
    with reading.reading(store.path) as db:
        assert runs.state([db], "r") == {
            "pass": 1,
            "from": None,
            "mode": "replay",
            "mixed": False,
            "identities": [],
        }


async def test_what_was_only_logged_was_a_pass_too(store) -> None:
    log(store, "r")
    await store.flush()
    assert await store.change(lambda db: begin(db, "r", NewPass())) == 1


async def test_stores_that_are_used_together_count_together(store) -> None:
    assert await store.change(lambda db: begin(db, "r", NewPass(number=7))) == 7
    assert await store.change(lambda db: begin(db, "r", NewPass(number=3))) == 8


async def test_only_a_new_run_is_made_from_another(store) -> None:
    await store.change(lambda db: begin(db, "old", NewPass()))
    assert await store.change(lambda db: begin(db, "new", NewPass("old"))) == 0
    assert await store.change(lambda db: begin(db, "new", NewPass("old"))) is None
    with reading.reading(store.path) as db:
        assert (runs.state([db], "new")["from"], runs.state([db], "new")["pass"]) == ("old", 0)
        assert runs.heirs(db, "old") == ["new"]


async def test_one_with_heirs_is_not_removed(store) -> None:
    await store.change(lambda db: begin(db, "old", NewPass()))
    await store.change(lambda db: begin(db, "new", NewPass("old")))
    assert await store.change(lambda db: runs.remove(db, "old")) is None
    assert await store.change(lambda db: runs.remove(db, "new")) == 0
    assert await store.change(lambda db: runs.remove(db, "old")) == 0
    with reading.reading(store.path) as db:
        assert runs.made(db) == {}


async def test_the_state_is_that_of_all_stores(store, tmp_path) -> None:
    other = SqliteStore(tmp_path / "cache.db")
    other.open()
    await store.change(lambda db: begin(db, "r", NewPass()))
    await other.change(lambda db: begin(db, "r", NewPass("s", "read", 4)))
    other.saw("r", "server-b", "vllm", {"version": "2"})
    store.saw("r", "server-a", "vllm", {})
    store.saw("r", "server-b", "vllm", {})
    await store.flush()
    await other.flush()
    with reading.reading(store.path) as one, reading.reading(other.path) as two:
        state = runs.state([one, two], "r")
    other.close()
    assert (state["pass"], state["from"], state["mode"], state["mixed"]) == (4, "s", "read", True)
    assert sorted(item["identity"] for item in state["identities"]) == ["server-a", "server-b"]


async def test_a_run_is_there_once_it_was_made_or_used(store) -> None:
    log(store, "logged")
    await store.flush()
    await store.change(lambda db: begin(db, "made", NewPass()))
    with reading.reading(store.path) as db:
        assert [runs.exists(db, run) for run in ("logged", "made", "neither")] == [True, True, False]
        assert list(runs.made(db)) == ["made"]
