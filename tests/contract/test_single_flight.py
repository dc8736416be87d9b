"""Single-flight: identical deterministic requests in flight share one call, streamed ones too."""

import asyncio
from typing import Any, ClassVar

import pytest

from proxy.cache import flights
from proxy.testing import ASGIExchange
from tests.contract.gated import LAST, Gated, event_of, gated
from tests.contract.sidecar import CHAT, Answer, Sidecar, chat, sidecar
from tests.waiting import until

NAMED: dict[str, Any] = {"upstream": {"namespace": "n"}}
STREAM = chat(stream=True)


@pytest.fixture
async def upstream():
    async with gated() as running:
        yield running


@pytest.fixture
async def proxy(tmp_path, upstream):
    async with sidecar(tmp_path, upstream, ["caching"], **NAMED) as running:
        yield running


class Readers:
    """Clients that ask the same and read as the test says."""

    def __init__(self, proxy: Sidecar) -> None:
        self._proxy = proxy
        self.open: list[ASGIExchange] = []

    async def join(self, body: Any = STREAM, **headers: str) -> ASGIExchange:
        exchange = self._proxy.exchange(CHAT, body, {name.replace("_", "-"): text for name, text in headers.items()})
        await exchange.__aenter__()
        self.open.append(exchange)
        return exchange

    async def close(self) -> None:
        for exchange in self.open:
            await exchange.__aexit__(None, None, None)


@pytest.fixture
async def readers(proxy):
    made = Readers(proxy)
    yield made
    await made.close()


async def boarded(count: int) -> None:
    """Return when so many readers share the one flight there is."""
    await until(lambda: sum(len(flight._readers) for flight in Watched.flights()) >= count)


class Watched(flights.Flights):
    """Flights that a test can look into."""

    made: ClassVar[list[flights.Flights]] = []

    def __init__(self, *, finish: bool = False) -> None:
        super().__init__(finish=finish)
        self.made.append(self)

    @classmethod
    def flights(cls) -> list[flights.Flight]:
        return list(cls.made[-1]._flights.values())


@pytest.fixture(autouse=True)
def watched(monkeypatch):
    monkeypatch.setattr("proxy.interceptors.caching.Flights", Watched)


async def first_chunk(exchange: ASGIExchange) -> bytes:
    await exchange.start()
    return await asyncio.wait_for(anext(exchange.chunks()), 5)


@pytest.mark.parametrize("body", [chat(), STREAM], ids=["plain", "streamed"])
async def test_concurrent_identical_requests_make_one_call(proxy: Sidecar, upstream: Gated, body: Any) -> None:
    asked = [asyncio.create_task(proxy.ask(body)) for _ in range(50)]
    call = await upstream.call()
    await boarded(50)
    if body is STREAM:
        await call.begin(event_of("a"))
        await call.finish(event_of("b"))
    else:
        await call.answer("a")
    answers = await asyncio.gather(*asked)
    assert upstream.count == 1
    assert len({answer.body for answer in answers}) == 1
    assert sorted(str(answer.cache) for answer in answers) == ["coalesced"] * 49 + ["miss"]
    followers = [answer for answer in answers if answer.cache == "coalesced"]
    assert {answer.header("x-evalside-upstream-ms") for answer in followers} == {None}
    assert len({answer.header("x-evalside-cache-key") for answer in answers}) == 1
    assert (await proxy.ask(body)).cache == "hit"


async def test_everybody_sees_chunks_as_they_arrive_and_who_comes_late_catches_up(upstream, readers) -> None:
    early = [await readers.join() for _ in range(3)]
    call = await upstream.call()
    await boarded(3)
    await call.begin(event_of("a"))
    for exchange in early:
        assert await first_chunk(exchange) == event_of("a")
    late = await readers.join()
    assert await first_chunk(late) == event_of("a")
    await call.send(event_of("b"))
    for exchange in (late, *early):
        assert await anext(exchange.chunks()) == event_of("b")
    latest = await readers.join()
    assert await first_chunk(latest) == event_of("a")
    assert await anext(latest.chunks()) == event_of("b")
    await call.finish()
    for exchange in readers.open:
        assert await exchange.read() == LAST
        assert exchange.complete
    assert upstream.count == 1


@pytest.mark.parametrize("begun", [False, True], ids=["before headers", "in mid-stream"])
@pytest.mark.parametrize("who", [0, 1, 2])
async def test_the_others_go_on_when_one_leaves(proxy, upstream, readers, begun: bool, who: int) -> None:
    for _ in range(3):
        await readers.join()
    call = await upstream.call()
    await boarded(3)
    if begun:
        await call.begin(event_of("a"))
        for exchange in readers.open:
            assert await first_chunk(exchange) == event_of("a")
    leaver = readers.open[who]
    leaver.disconnect()
    await leaver.wait_finished()
    if not begun:
        await call.begin(event_of("a"))
    await call.finish(event_of("b"))
    whole = b"" if begun else event_of("a")
    for exchange in readers.open:
        if exchange is not leaver:
            assert await exchange.read() == whole + event_of("b") + LAST
            assert exchange.complete
    assert (upstream.count, call.gone.is_set() and leaver.complete) == (1, False)
    assert (await proxy.ask(STREAM)).cache == "hit"


@pytest.mark.parametrize("body", [chat(), STREAM], ids=["plain", "streamed"])
async def test_the_call_ends_when_all_have_left(proxy, upstream, readers, body: Any) -> None:
    for _ in range(2):
        await readers.join(body)
    call = await upstream.call()
    await boarded(2)
    if body is STREAM:
        await call.begin(event_of("a"))
        assert [await first_chunk(exchange) for exchange in readers.open] == [event_of("a")] * 2
    for exchange in readers.open:
        assert not call.gone.is_set()
        exchange.disconnect()
        await exchange.wait_finished()
    await asyncio.wait_for(call.gone.wait(), 5)
    assert Watched.flights() == []
    again = asyncio.create_task(proxy.ask())  # nothing of it is left
    await (await upstream.call()).answer()
    assert (await again).cache == "miss"


async def gathered(asked: list[asyncio.Task[Answer]]) -> list[tuple[int, str | None]]:
    return [(answer.status, answer.cache) for answer in await asyncio.gather(*asked)]


@pytest.mark.parametrize("body", [chat(), STREAM], ids=["plain", "streamed"])
@pytest.mark.parametrize("fails", ["unreachable", "cut", "server error"])
async def test_followers_of_a_failed_call_elect_one_new_leader(proxy, upstream, body: Any, fails: str) -> None:
    asked = [asyncio.create_task(proxy.ask(body)) for _ in range(5)]
    call = await upstream.call()
    await boarded(5)
    if fails == "server error":
        await call.answer("busy", status=503)
    elif fails == "cut" and body is STREAM:
        await call.begin()
        await call.cut()
    else:
        await call.cut()
    second = await upstream.call()
    await boarded(4)
    if body is STREAM:
        await second.begin()
        await second.finish(event_of("b"))
    else:
        await second.answer("b")
    told = await gathered(asked)
    status = {"server error": 503, "cut": 200 if body is STREAM else 502}.get(fails, 502)
    assert told[0] == (status, "miss")
    assert sorted(told[1:]) == [(200, "coalesced")] * 3 + [(200, "miss")]
    assert upstream.count == 2
    assert (await proxy.ask(body)).cache == "hit"


@pytest.mark.parametrize("status", [503, None], ids=["server error", "cut"])
async def test_the_second_failure_is_shared(proxy, upstream, status: int | None) -> None:
    asked = [asyncio.create_task(proxy.ask()) for _ in range(4)]
    for readers in (4, 3):
        call = await upstream.call()
        await boarded(readers)
        if status is None:
            await call.cut()
        else:
            await call.answer("busy", status=status)
    assert {answer.status for answer in await asyncio.gather(*asked)} == {status or 502}
    assert upstream.count == 2


@pytest.mark.parametrize("status", [400, 404, 422, 429])
async def test_a_refusal_is_shared(proxy, upstream, status: int) -> None:
    asked = [asyncio.create_task(proxy.ask()) for _ in range(4)]
    call = await upstream.call()
    await boarded(4)
    await call.answer("no", status=status)
    assert sorted(await gathered(asked)) == [(status, "coalesced")] * 3 + [(status, "miss")]
    assert upstream.count == 1
    again = asyncio.create_task(proxy.ask())  # it is not kept
    await (await upstream.call()).answer()
    assert (await again).cache == "miss"


async def test_a_stream_that_breaks_off_breaks_for_everybody_and_is_not_kept(proxy, upstream, readers) -> None:
    for _ in range(3):
        await readers.join()
    call = await upstream.call()
    await boarded(3)
    await call.begin(event_of("a"))
    for exchange in readers.open:
        assert await first_chunk(exchange) == event_of("a")
    await call.cut()
    for exchange in readers.open:
        rest = await exchange.read()
        assert b"upstream_incomplete" in rest
        assert b"[DONE]" not in rest
    assert upstream.count == 1
    again = asyncio.create_task(proxy.ask(STREAM))
    call = await upstream.call()
    await call.begin()
    await call.finish(event_of("b"))
    assert (await again).cache == "miss"


async def test_different_credentials_share_no_call(proxy, upstream) -> None:
    headers = [{"authorization": "Bearer a"}, {"authorization": "Bearer b"}, {"x_api_key": "a"}, {"api_key": "a"}, {}]
    asked = [asyncio.create_task(proxy.ask(**given)) for given in headers]
    for _ in headers:
        await (await upstream.call()).answer()
    assert set(await gathered(asked)) == {(200, "miss")}
    assert upstream.count == len(headers)


@pytest.mark.parametrize("mode", ["write", "refresh", "verify", "off"])
async def test_other_modes_ask_for_themselves(proxy, upstream, mode: str) -> None:
    asked = [asyncio.create_task(proxy.ask(x_evalside_cache=mode)) for _ in range(3)]
    for _ in asked:
        await (await upstream.call()).answer()
    assert set(await gathered(asked)) == {(200, "off" if mode == "off" else "miss")}


async def test_reading_shares_calls_and_keeps_nothing(proxy, upstream) -> None:
    asked = [asyncio.create_task(proxy.ask(x_evalside_cache="read")) for _ in range(2)]
    call = await upstream.call()
    await boarded(2)
    await call.answer()
    assert sorted(await gathered(asked)) == [(200, "coalesced"), (200, "miss")]
    again = asyncio.create_task(proxy.ask())
    await (await upstream.call()).answer()
    assert (await again).cache == "miss"


async def test_sampled_requests_share_nothing(proxy, upstream) -> None:
    asked = [asyncio.create_task(proxy.ask(chat(temperature=1))) for _ in range(2)]
    asked += [asyncio.create_task(proxy.ask(chat(temperature=1), x_evalside_run="r")) for _ in range(2)]
    for _ in asked:
        await (await upstream.call()).answer()
    assert set(await gathered(asked)) == {(200, "miss")}


@pytest.mark.parametrize("finish", [False, True])
async def test_it_can_be_turned_off(tmp_path, upstream, finish: bool) -> None:
    options = [{"name": "caching", "config": {"coalesce": False, "finish_on_disconnect": finish}}]
    async with sidecar(tmp_path, upstream, options, **NAMED) as proxy:
        asked = [asyncio.create_task(proxy.ask()) for _ in range(3)]
        for _ in asked:
            await (await upstream.call()).answer()
        assert set(await gathered(asked)) == {(200, "miss")}


async def test_a_slow_reader_holds_the_model_server_back_and_loses_nothing(proxy, upstream, readers, monkeypatch):
    """More than the cap may not be held, so the slowest sets the pace and nobody joins any more."""
    monkeypatch.setattr(flights, "CAP", 1000)
    texts = [event_of(str(number) * 400) for number in range(6)]
    slow, fast = await readers.join(), await readers.join()
    call = await upstream.call()
    await boarded(2)
    slow.hold()
    await call.begin()
    got = []
    for text in texts[:3]:
        await call.send(text)
        got.append(await first_chunk(fast))
    [flight] = Watched.flights()
    assert flight.full
    await call.send(*texts[3:])
    await call.finish()
    waiting = asyncio.create_task(fast.read())
    await asyncio.sleep(0)
    assert not waiting.done()
    other = await readers.join()  # a call of its own
    second = await upstream.call()
    await second.begin()
    await second.finish(event_of("own"))
    assert await other.read() == event_of("own") + LAST
    slow.release()
    whole = b"".join(texts) + LAST
    assert b"".join(got) + await waiting == whole
    assert await slow.read() == whole


async def test_who_is_ahead_goes_on_when_the_slow_one_leaves(proxy, upstream, readers, monkeypatch):
    monkeypatch.setattr(flights, "CAP", 1000)
    slow, fast = await readers.join(), await readers.join()
    call = await upstream.call()
    await boarded(2)
    slow.hold()
    await call.begin()
    texts = [event_of(str(number) * 400) for number in range(6)]
    got = []
    for text in texts[:3]:
        await call.send(text)
        got.append(await first_chunk(fast))
    await call.send(*texts[3:])
    await call.finish()
    reading = asyncio.create_task(fast.read())
    await asyncio.sleep(0)
    assert not reading.done()
    slow.disconnect()
    assert b"".join(got) + await asyncio.wait_for(reading, 5) == b"".join(texts) + LAST


async def test_an_abandoned_call_may_finish(tmp_path, upstream) -> None:
    options = [{"name": "caching", "config": {"finish_on_disconnect": True}}]
    async with sidecar(tmp_path, upstream, options, **NAMED) as proxy:
        cases = (chat(seed=1), "coalesced"), (chat(seed=2, stream=True), "coalesced"), (chat(seed=3), "hit")
        for body, expected in cases:
            async with proxy.exchange(CHAT, body, {}) as exchange:
                call = await upstream.call()
                if "stream" in body:
                    await call.begin(event_of("a"))
                    assert await first_chunk(exchange) == event_of("a")
                exchange.disconnect()
                await exchange.wait_finished()
            if expected == "coalesced":
                asked = asyncio.create_task(proxy.ask(body))
                await boarded(2)  # the other reads for nobody
                await (call.finish(event_of("b")) if "stream" in body else call.answer())
                assert (await asked).cache == "coalesced"
            else:
                await call.answer()
                await asyncio.gather(*Watched.made[-1]._drains)
            assert (await proxy.ask(body)).cache == "hit"
        assert upstream.count == 3
