"""Two hundred identical requests at once: one call for all where they are deterministic, one for each where drawn."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest

from proxy.testing import ModelServer
from tests.killable import Killable
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]
CROWD = 200
GROUP = 10
CHAT = "/v1/chat/completions"
SECONDS = 2.0
"""Of latency: all requests are there before the first is answered."""


@dataclass(frozen=True)
class Said:
    text: str
    cache: str
    sample: str | None


async def crowd(url: str, count: int = CROWD, **fields: Any) -> list[Said]:
    """Ask the same question `count` times at once, each on a connection of its own."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}

    async def ask(session: aiohttp.ClientSession) -> Said:
        async with session.post(url + CHAT, json=body) as answer:
            raw = await answer.text()
            assert answer.status == 200, raw
            headers = answer.headers
            return Said(raw, headers["x-evalside-cache"], headers.get("x-evalside-sample"))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        return await asyncio.gather(*(ask(session) for _ in range(count)))


def calls(server: ModelServer) -> int:
    return len(server.generation_requests)


def were_asked(server: ModelServer, count: int) -> bool:
    return calls(server) >= count


def rows(sidecar: Killable, query: str) -> list[Any]:
    with closing(sqlite3.connect(sidecar.database)) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_deterministic_ones_make_one_call_for_each_worker(tmp_path, workers, stream):
    async with ModelServer(latency=SECONDS) as server:
        with Killable(tmp_path, server.url, workers=workers) as sidecar:
            said = await crowd(sidecar.url, temperature=0, stream=stream)
            assert 1 <= calls(server) <= workers
            assert Counter(item.cache for item in said)["miss"] == calls(server)
            # Each worker has the answer of its own call; they differ in id and time, and in nothing else.
            assert len({item.text for item in said}) == calls(server)
            await asyncio.to_thread(wait_for, lambda: rows(sidecar, "SELECT count(*) FROM responses") == [(1,)])
            again = await crowd(sidecar.url, temperature=0, stream=stream)
            assert {item.cache for item in again} == {"hit"}
            assert {item.text for item in again} <= {item.text for item in said}
            asked = calls(server)
    assert asked <= workers


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_drawn_ones_make_a_call_each_and_are_replayed(tmp_path, workers, stream):
    async with ModelServer(latency=SECONDS) as server:
        with Killable(tmp_path, server.url, workers=workers) as sidecar:
            run = f"{sidecar.url}/-/runs/r"
            asking = []
            for arrived in range(GROUP, CROWD + 1, GROUP):  # a worker that is awake could take all that come at once
                asking.append(asyncio.create_task(crowd(run, GROUP, temperature=0.8, stream=stream)))
                await asyncio.to_thread(wait_for, partial(were_asked, server, arrived))
            busy = rows(sidecar, "SELECT count(DISTINCT substr(holder, 1, 16)) FROM slots")
            first = [said for group in await asyncio.gather(*asking) for said in group]
            await asyncio.to_thread(wait_for, lambda: rows(sidecar, "SELECT count(*) FROM responses") == [(CROWD,)])
            await asyncio.to_thread(sidecar.new_pass, "r")
            again = await crowd(run, temperature=0.8, stream=stream)
            assert calls(server) == CROWD
    assert busy == [(workers,)]
    for said, state in ((first, "miss"), (again, "hit")):
        assert Counter(item.cache for item in said) == {state: CROWD}
        assert sorted(int(item.sample or -1) for item in said) == list(range(CROWD))
    assert len({item.text for item in first}) == CROWD
    assert {item.sample: item.text for item in again} == {item.sample: item.text for item in first}
