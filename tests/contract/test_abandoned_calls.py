"""With `finish_on_disconnect` a call goes on when its client has left; the next identical request has its answer."""

import asyncio
from typing import ClassVar

import pytest

from proxy.cache.flights import Flights
from tests.contract.gated import LAST, Gated, event_of, gated
from tests.contract.sampling import NAMED, PLAIN, STREAM, answered, ask, leave, new_pass, told
from tests.contract.sidecar import CHAT, Sidecar, sidecar

FINISH = [{"name": "caching", "config": {"finish_on_disconnect": True}}]


@pytest.fixture
async def upstream():
    async with gated() as running:
        yield running


class Watched(Flights):
    """Flights that a test can wait for."""

    made: ClassVar[list[Flights]] = []

    def __init__(self, *, finish: bool = False) -> None:
        super().__init__(finish=finish)
        self.made.append(self)


@pytest.fixture
async def finishing(tmp_path, upstream, monkeypatch):
    monkeypatch.setattr("proxy.interceptors.caching.Flights", Watched)
    async with sidecar(tmp_path, upstream, FINISH, **NAMED) as running:
        yield running


async def landed() -> None:
    """Return when no call goes on without a client."""
    await asyncio.gather(*Watched.made[-1]._drains)


async def test_an_abandoned_call_is_attached_to_while_it_goes_on(finishing: Sidecar, upstream: Gated) -> None:
    async with finishing.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
        call = await upstream.call()
        await leave(exchange)
    attached = asyncio.create_task(ask(finishing))
    other = asyncio.create_task(told(finishing))  # a second one has a sample of its own
    await (await upstream.call()).answer("second")
    assert await other == ("miss", "1")
    await call.answer("first")
    answer = await attached
    assert (answer.cache, answer.header("x-evalside-sample")) == ("coalesced", "0")
    assert answer.json["choices"][0]["message"]["content"] == "first"
    await new_pass(finishing)
    assert [await told(finishing) for _ in range(2)] == [("hit", "0"), ("hit", "1")]
    assert upstream.count == 2


async def test_an_abandoned_stream_is_attached_to_from_its_beginning(finishing: Sidecar, upstream: Gated) -> None:
    async with finishing.exchange(CHAT, STREAM, {"x-evalside-run": "r"}) as exchange:
        call = await upstream.call()
        await call.begin(event_of("a"))
        await exchange.start()
        await anext(exchange.chunks())
        await leave(exchange)
    async with finishing.exchange(CHAT, STREAM, {"x-evalside-run": "r"}) as exchange:
        await exchange.start()
        assert await anext(exchange.chunks()) == event_of("a")
        await call.finish(event_of("b"))
        assert await exchange.read() == event_of("b") + LAST
    assert upstream.count == 1
    await new_pass(finishing)
    replayed = await ask(finishing, STREAM)
    assert (replayed.cache, replayed.body) == ("hit", event_of("a") + event_of("b") + LAST)


async def test_an_answer_that_came_after_its_client_left_is_the_next_ones(finishing: Sidecar, upstream: Gated) -> None:
    async with finishing.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
        call = await upstream.call()
        await leave(exchange)
    await call.answer("first")
    await landed()
    answer = await ask(finishing)
    assert (answer.cache, answer.header("x-evalside-sample")) == ("hit", "0")
    assert await answered(finishing, upstream) == ("miss", "1")


async def test_an_abandoned_call_that_fails_gives_its_sample_back(finishing: Sidecar, upstream: Gated) -> None:
    async with finishing.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
        call = await upstream.call()
        await leave(exchange)
    await call.cut()
    await landed()
    assert await answered(finishing, upstream) == ("miss", "0")


async def test_who_attaches_may_leave_too(finishing: Sidecar, upstream: Gated) -> None:
    for _ in range(3):
        async with finishing.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
            if _ == 0:
                call = await upstream.call()
            else:
                await asyncio.sleep(0)  # it has begun, and nothing will wake it
            await leave(exchange)
    await call.answer("first")
    await landed()
    assert await told(finishing) == ("hit", "0")
    assert upstream.count == 1


async def test_who_attaches_to_a_call_that_fails_asks_again(finishing: Sidecar, upstream: Gated) -> None:
    async with finishing.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
        call = await upstream.call()
        await leave(exchange)
    attached = asyncio.create_task(told(finishing))
    await call.answer("busy", status=503)
    await (await upstream.call()).answer("first")
    assert await attached == ("miss", "0")
    await new_pass(finishing)
    assert await told(finishing) == ("hit", "0")


async def test_an_abandoned_call_belongs_to_its_own_pass(finishing: Sidecar, upstream: Gated) -> None:
    assert await answered(finishing, upstream) == ("miss", "0")
    async with finishing.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
        call = await upstream.call()
        await leave(exchange)
    await new_pass(finishing)
    assert await told(finishing) == ("hit", "0")
    await call.answer("second")
    await landed()
    assert await told(finishing) == ("hit", "1")


async def test_a_named_sample_is_never_that_of_an_abandoned_call(finishing: Sidecar, upstream: Gated) -> None:
    assert await answered(finishing, upstream) == ("miss", "0")
    async with finishing.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
        call = await upstream.call()
        await leave(exchange)
    assert await told(finishing, x_evalside_sample="0") == ("hit", "0")
    await call.answer()


async def test_a_sidecar_that_stops_hangs_up_what_nobody_waits_for(tmp_path, upstream: Gated) -> None:
    async with sidecar(tmp_path, upstream, FINISH, **NAMED) as proxy:
        for body in (PLAIN, STREAM):
            async with proxy.exchange(CHAT, body, {"x-evalside-run": "r"}) as exchange:
                call = await upstream.call()
                if body is STREAM:
                    await call.begin(event_of("a"))
                    await exchange.start()
                await leave(exchange)
            assert not call.gone.is_set()
    await asyncio.wait_for(call.gone.wait(), 5)
    async with sidecar(tmp_path, upstream, FINISH, **NAMED) as proxy:
        assert await answered(proxy, upstream) == ("miss", "0")
