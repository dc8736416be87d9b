"""Sampled requests of a run, and what the cache says to them."""

import asyncio
from typing import Any

from proxy.store import samples
from tests.contract.gated import Gated
from tests.contract.sidecar import Answer, Sidecar, chat

NAMED: dict[str, Any] = {"upstream": {"namespace": "n"}}
PLAIN = chat(temperature=0.7)
STREAM = chat(temperature=0.7, stream=True)


async def ask(proxy: Sidecar, body: Any = None, run: str = "r", **headers: str) -> Answer:
    return await proxy.ask(PLAIN if body is None else body, x_evalside_run=run, **headers)


async def told(proxy: Sidecar, body: Any = None, run: str = "r", **headers: str) -> tuple[str | None, str | None]:
    """What the cache says to one request: status and sample."""
    answer = await ask(proxy, body, run, **headers)
    return answer.cache, answer.header("x-evalside-sample")


async def new_pass(proxy: Sidecar, run: str = "r", source: str | None = None, mode: str | None = None) -> None:
    store = proxy.app.state.house.store
    await store.flush()
    await store.change(lambda db: samples.new_pass(db, run, source=source, mode=mode))


async def leave(exchange: Any) -> None:
    exchange.disconnect()
    await exchange.wait_finished()


async def answered(proxy: Sidecar, upstream: Gated, text: str = "hi") -> tuple[str | None, str | None]:
    """What the cache says to a request that the model server answers at once."""
    asked = asyncio.create_task(told(proxy))
    await (await upstream.call()).answer(text)
    return await asked
