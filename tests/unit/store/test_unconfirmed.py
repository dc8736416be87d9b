"""Answers that are not decided on yet, in the database and in the process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.store.base import NOBODY, Asker, Candidate, EntryKey, KeySource, Sequence
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import answer

OF = Sequence("r", "0123", bytes(32))
ASKER = Asker("m", "key")
HERE, ELSEWHERE = "http://here vllm 1", "http://elsewhere vllm 1"
POOLED = EntryKey(bytes(32), "", 0, "plain")


def knows(name: str) -> bool:
    return name.startswith("http://here ")


def said(text: bytes, identity: str = HERE) -> Any:
    made = answer(text)
    source = KeySource(identity, "POST", "/v1/chat/completions", "", [("openai-beta", "x")])
    return type(made)(**{name: getattr(made, name) for name in made.__slots__} | {"source": source, "run": "r"})


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


async def test_what_is_decided_at_once_is_written_once(store: SqliteStore, path: Path) -> None:
    seen: list[str] = []
    store._writer._thread  # noqa: B018
    it, other = candidate(), candidate(at=POOLED._replace(key=b"o" * 32))
    store.hold(it)
    store.hold(other)
    store.decide(it, kept=True)
    store.decide(other, kept=False)
    await store.flush()
    assert (it.name, other.name, undecided(path), seen) == ("", "", 0, [])
    assert (await store.get(POOLED)).body == b"a"  # type: ignore[union-attr]
    assert await store.get(other.at) is None
