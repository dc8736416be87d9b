"""Two hundred identical requests at once: one call for all where they are deterministic, one for each where drawn."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from proxy.testing import ModelServer
from tests.killable import Killable
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]
CROWD = 200
CHAT = "/v1/chat/completions"
SECONDS = 2.0
"""Of latency: all requests are there before the first is answered."""


@dataclass(frozen=True)
class Said:
    text: str
    cache: str
    sample: str | None
    worker: str


def worker(answer: aiohttp.ClientResponse) -> str:
    """Which process answered: a part of the exchange's id."""
    return answer.headers["x-evalside-id"][11:17]


@asynccontextmanager
async def connected(sidecar: Killable, workers: int) -> AsyncIterator[list[aiohttp.ClientSession]]:
    """As many open connections to every worker, in all one for each of the crowd.

    Which worker accepts a connection is chance, and one that is still starting accepts none: what comes too many to one
    of them is closed again.
    """
    open_to: dict[str, list[aiohttp.ClientSession]] = defaultdict(list)
    enough = CROWD // workers
    async with AsyncExitStack() as stack:
        while [len(sessions) for sessions in open_to.values()] != [enough] * workers:
            connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=600)
            session = await stack.enter_async_context(aiohttp.ClientSession(sidecar.url, connector=connector))
            async with session.get("/v1/models") as answer:
                await answer.read()
            if len(open_to[worker(answer)]) < enough:
                open_to[worker(answer)].append(session)
            else:
                await session.close()
        yield [session for sessions in open_to.values() for session in sessions]


async def crowd(connections: list[aiohttp.ClientSession], path: str = CHAT, **fields: Any) -> list[Said]:
    """Ask the same question on all connections at once."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}

    async def ask(session: aiohttp.ClientSession) -> Said:
        async with session.post(path, json=body) as answer:
            raw = await answer.text()
            assert answer.status == 200, raw
            headers = answer.headers
            return Said(raw, headers["x-evalside-cache"], headers.get("x-evalside-sample"), worker(answer))

    return await asyncio.gather(*map(ask, connections))


def workers_asked(said: list[Said]) -> set[int]:
    """How many answers each worker gave."""
    return set(Counter(item.worker for item in said).values())


def calls(server: ModelServer) -> int:
    return len(server.generation_requests)


def rows(sidecar: Killable, query: str) -> list[Any]:
    with closing(sqlite3.connect(sidecar.database)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_deterministic_ones_make_one_call_for_each_worker(tmp_path, workers, stream):
    async with ModelServer(latency=SECONDS) as server:
        with Killable(tmp_path, server.url, workers=workers) as sidecar:
            async with connected(sidecar, workers) as connections:
                said = await crowd(connections, temperature=0, stream=stream)
                assert 1 <= calls(server) <= workers
                assert Counter(item.cache for item in said)["miss"] == calls(server)
                # Each worker has the answer of its own call; they differ in id and time, and in nothing else.
                assert len({item.text for item in said}) == calls(server)
                await asyncio.to_thread(wait_for, lambda: rows(sidecar, "SELECT count(*) FROM responses") == [(1,)])
                again = await crowd(connections, temperature=0, stream=stream)
            assert {item.cache for item in again} == {"hit"}
            assert {item.text for item in again} <= {item.text for item in said}
            asked = calls(server)
    assert asked <= workers
    assert workers_asked(said) == workers_asked(again) == {CROWD // workers}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_drawn_ones_make_a_call_each_and_are_replayed(tmp_path, workers, stream):
    async with ModelServer(latency=SECONDS) as server:
        with Killable(tmp_path, server.url, workers=workers) as sidecar:
            async with connected(sidecar, workers) as connections:
                first = await crowd(connections, f"/-/runs/r{CHAT}", temperature=0.8, stream=stream)
                await asyncio.to_thread(wait_for, lambda: rows(sidecar, "SELECT count(*) FROM responses") == [(CROWD,)])
                await asyncio.to_thread(sidecar.new_pass, "r")
                again = await crowd(connections, f"/-/runs/r{CHAT}", temperature=0.8, stream=stream)
            assert calls(server) == CROWD
    assert workers_asked(first) == workers_asked(again) == {CROWD // workers}
    for said, state in ((first, "miss"), (again, "hit")):
        assert Counter(item.cache for item in said) == {state: CROWD}
        assert sorted(int(item.sample or -1) for item in said) == list(range(CROWD))
    assert len({item.text for item in first}) == CROWD
    assert {item.sample: item.text for item in again} == {item.sample: item.text for item in first}
