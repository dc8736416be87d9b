"""What goes from the cache: by age, by size, with its run, and what is damaged."""

import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from proxy.testing import ModelServer
from tests.contract.sidecar import Sidecar, chat, sidecar

NAMED: dict[str, Any] = {"upstream": {"namespace": "n"}}
DAY = 86_400.0


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def change(proxy: Sidecar, sql: str, *values: Any) -> int:
    with closing(sqlite3.connect(proxy.database, timeout=10)) as connection, connection:
        return connection.execute(sql, values).rowcount


async def ask(proxy: Sidecar, body: Any, run: str = "r") -> str | None:
    return (await proxy.ask(body, x_evalside_run=run)).cache


@pytest.mark.parametrize("temperature", [0, 0.7], ids=["deterministic", "sampled"])
async def test_what_is_too_old_is_asked_for_again(tmp_path, server, temperature: float) -> None:
    old, young = chat(seed=1, temperature=temperature), chat(seed=2, temperature=temperature)
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        assert [await ask(proxy, body) for body in (old, young)] == ["miss", "miss"]
    change(proxy, "UPDATE responses SET created_at = ? WHERE id = 1", time.time() - 3 * DAY)
    limit = {"retention": {"cache_max_age_days": 2}}
    async with sidecar(tmp_path, server, ["caching"], **NAMED, **limit) as proxy:
        await proxy.ask(b"", "/-/runs/r")  # a new pass
        assert [await ask(proxy, body) for body in (old, young)] == ["miss", "hit"]


@pytest.mark.parametrize("temperature", [0, 0.7], ids=["deterministic", "sampled"])
async def test_of_what_is_too_much_the_oldest_is_asked_for_again(tmp_path, server, temperature: float) -> None:
    bodies = [chat(seed=number, temperature=temperature) for number in range(4)]
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        for body in bodies:
            await ask(proxy, body)
    with closing(sqlite3.connect(proxy.database)) as connection:
        newest = connection.execute("SELECT sum(size) FROM responses WHERE id > 2").fetchone()[0]
    limit = {"retention": {"cache_max_bytes": newest}}
    async with sidecar(tmp_path, server, ["caching"], **NAMED, **limit) as proxy:
        await proxy.ask(b"", "/-/runs/r")
        assert [await ask(proxy, body) for body in bodies[::-1]] == ["hit", "hit", "miss", "miss"]


async def test_a_run_that_is_deleted_begins_anew(tmp_path, server) -> None:
    sampled = chat(temperature=0.7)
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        for run in ("r", "other"):
            assert [await ask(proxy, body, run) for body in (sampled, sampled)] == ["miss", "miss"]
        async with proxy.exchange("/-/runs/r", b"", {}, "DELETE") as exchange:
            assert (await exchange.start()).status == 200
            await exchange.read()
        told = await proxy.ask(sampled, x_evalside_run="r")
        assert (told.cache, told.header("x-evalside-sample")) == ("miss", "0")
        kept = await proxy.ask(sampled, x_evalside_run="other", x_evalside_sample="1")
        assert kept.cache == "hit"


@pytest.mark.parametrize("temperature", [0, 0.7], ids=["deterministic", "sampled"])
async def test_a_damaged_answer_is_asked_for_again_and_replaced(tmp_path, server, temperature: float) -> None:
    body = chat(temperature=temperature)
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        await ask(proxy, body)
        await proxy.get("/-/runs")  # it is written
        assert change(proxy, "UPDATE responses SET body = x'FF00'") == 1
        for told in ("miss", "hit"):
            await proxy.ask(b"", "/-/runs/r")
            answer = await proxy.ask(body, x_evalside_run="r")
            assert (answer.status, answer.cache) == (200, told)
            assert answer.header("x-evalside-sample") == ("0" if temperature else None)
        assert proxy.calls == 2
