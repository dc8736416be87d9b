import asyncio
from collections.abc import Awaitable, Callable

import pytest

from proxy.cache.flights import Boarded, Flights
from proxy.core.errors import UpstreamIncomplete, UpstreamUnreachable
from proxy.core.facts import UpstreamFacts
from proxy.core.http import Exchange, Response
from proxy.core.stream import ByteStream, Outcome
from tests.unit.cache.parts import Source, exchange, plain, response


def unprepared(asked: Exchange, answer: Response) -> None:
    """Nothing is watched."""


class Calls:
    """What the model server is asked; each call waits for the answer that the test gives it."""

    def __init__(self) -> None:
        self.open: asyncio.Queue[asyncio.Future[Response]] = asyncio.Queue()

    async def __call__(self, asked: Exchange) -> Response:
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.open.put_nowait(answer)
        made = await answer
        asked.put(UpstreamFacts(3.0))
        return made

    async def answer(self, made: Response | Exception) -> None:
        waiting = await self.open.get()
        if isinstance(made, Response):
            waiting.set_result(made)
        else:
            waiting.set_exception(made)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def board(flights: Flights, calls: Callable[[Exchange], Awaitable[Response]]) -> asyncio.Task[Boarded]:
    return asyncio.create_task(flights.board("key", exchange(), calls, unprepared))


async def text(boarded: Boarded) -> bytes:
    body = boarded.response.body
    return b"".join([chunk async for chunk in body]) if isinstance(body, ByteStream) else body.raw


async def test_what_holds_something_behind_a_plain_answer_learns_that_it_ended(calls: Calls) -> None:
    outcomes: list[Outcome] = []
    made = response()
    made.on_close(outcomes.append)
    riding = board(Flights(), calls)
    await calls.answer(made)
    assert await text(await riding) == plain()
    assert outcomes == [Outcome.COMPLETE]


async def test_the_leader_learns_what_was_left_on_the_call_and_a_follower_does_not(calls: Calls) -> None:
    flights, leader, follower = Flights(), exchange(), exchange()
    riding = [asyncio.create_task(flights.board("key", one, calls, unprepared)) for one in (leader, follower)]
    await calls.answer(response())
    assert [boarded.led for boarded in await asyncio.gather(*riding)] == [True, False]
    assert leader.get(UpstreamFacts) == UpstreamFacts(3.0)
    assert follower.get(UpstreamFacts) is None


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_observer_that_fails_is_reported_with_the_leader(calls: Calls, streamed: bool) -> None:
    class Fails:
        def feed(self, chunk: bytes, /) -> None:
            raise KeyError("tap")

        def done(self, outcome: Outcome, /) -> None:
            """See nothing."""

    flights, source = Flights(), Source()
    for chunk in (b"a", None):
        source.chunks.put_nowait(chunk)
    riding = [
        asyncio.create_task(flights.board("key", exchange(), calls, lambda asked, answer: answer.tap(Fails())))
        for _ in range(2)
    ]
    await calls.answer(response(source.stream() if streamed else None))
    boarded = await asyncio.gather(*riding)
    assert len({await text(one) for one in boarded}) == 1
    assert [len(one.response.tap_errors) for one in boarded] == [1, 0]


async def test_a_server_error_that_is_streamed_is_asked_again_too(calls: Calls) -> None:
    """It goes on for its leader, and nobody else joins it."""
    flights, source = Flights(), Source()
    leader, follower = board(flights, calls), board(flights, calls)
    source.chunks.put_nowait(b"error")
    await calls.answer(response(source.stream(), 503))
    assert (await leader).response.status == 503
    await calls.answer(response())
    boarded = await follower
    assert (boarded.led, await text(boarded)) == (True, plain())
    source.chunks.put_nowait(None)
    assert await text(await leader) == b"error"


async def test_an_error_that_is_nobodys_answer_reaches_everybody(calls: Calls) -> None:
    flights = Flights()
    riding = [board(flights, calls) for _ in range(2)]
    await calls.answer(KeyError("broken"))
    for one in riding:
        with pytest.raises(KeyError, match="broken"):
            await one
    assert flights.find("key") is None


async def test_who_has_seen_bytes_shares_the_failure(calls: Calls) -> None:
    flights, source = Flights(), Source()
    riding = [board(flights, calls) for _ in range(2)]
    source.chunks.put_nowait(b"a")
    await calls.answer(response(source.stream()))
    boarded = await asyncio.gather(*riding)
    source.chunks.put_nowait(UpstreamIncomplete("cut"))
    for one in boarded:
        with pytest.raises(UpstreamIncomplete, match="cut"):
            await text(one)
    assert source.closed.is_set()
    late = board(flights, calls)  # who comes now has nothing to do with it
    await calls.answer(response())
    assert (await late).led
    for one in boarded:
        await one.response.aclose()
    assert flights.find("key") is None


async def test_the_stream_is_closed_at_once_when_the_last_reader_leaves(calls: Calls) -> None:
    flights, source = Flights(), Source()
    riding = [board(flights, calls) for _ in range(2)]
    source.chunks.put_nowait(b"a")
    await calls.answer(response(source.stream()))
    first, second = await asyncio.gather(*riding)
    await first.response.aclose()
    assert not source.closed.is_set()
    await second.response.aclose()
    assert source.closed.is_set()
    with pytest.raises(RuntimeError, match="nobody read"):
        await first.flight.chunk(1)


async def test_a_reader_that_leaves_while_it_pulls_loses_nothing_for_the_others(calls: Calls) -> None:
    flights, source = Flights(), Source()
    riding = [board(flights, calls) for _ in range(2)]
    source.chunks.put_nowait(b"a")
    await calls.answer(response(source.stream()))
    first, second = await asyncio.gather(*riding)
    body = first.response.body
    assert isinstance(body, ByteStream)
    assert await anext(body) == b"a"
    pulling = asyncio.create_task(text(first))
    await asyncio.sleep(0)
    pulling.cancel()
    await asyncio.gather(pulling, return_exceptions=True)
    await first.response.aclose()
    for chunk in (b"b", None):
        source.chunks.put_nowait(chunk)
    assert await text(second) == b"ab"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_may_go_on_for_nobody(calls: Calls, streamed: bool) -> None:
    flights, source, after = Flights(finish=True), Source(), asyncio.Event()
    riding = board(flights, calls)
    waiting = await calls.open.get()
    if streamed:
        waiting.set_result(response(source.stream()))
        await (await riding).response.aclose()
    else:
        riding.cancel()
        await asyncio.gather(riding, return_exceptions=True)
        waiting.set_result(response())
    flight = flights.find("key")
    assert flight is not None
    flight.after = after.set
    for chunk in (b"a", None):
        source.chunks.put_nowait(chunk)
    await asyncio.wait_for(after.wait(), 5)
    assert (flight.ended, flights.find("key")) == (True, None)
    await flights.aclose()


async def test_a_call_that_goes_on_for_nobody_may_fail(calls: Calls) -> None:
    flights, after = Flights(finish=True), asyncio.Event()
    riding = board(flights, calls)
    waiting = await calls.open.get()
    riding.cancel()
    await asyncio.gather(riding, return_exceptions=True)
    flight = flights.find("key")
    assert flight is not None
    flight.after = after.set
    waiting.set_exception(UpstreamUnreachable("gone"))
    await asyncio.wait_for(after.wait(), 5)
    assert flights.find("key") is None


@pytest.mark.parametrize("streamed", [False, True])
async def test_at_the_end_calls_that_nobody_waits_for_are_given_up(calls: Calls, streamed: bool) -> None:
    flights, source = Flights(finish=True), Source()
    riding = board(flights, calls)
    waiting = await calls.open.get()
    if streamed:
        waiting.set_result(response(source.stream()))
        await (await riding).response.aclose()
    else:
        riding.cancel()
        await asyncio.gather(riding, return_exceptions=True)
    await asyncio.sleep(0)  # the reading for nobody begins
    await flights.aclose()
    await asyncio.sleep(0)
    assert source.closed.is_set() if streamed else waiting.cancelled()
    assert flights.find("key") is None
