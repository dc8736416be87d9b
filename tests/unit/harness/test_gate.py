import asyncio

import pytest

from harness.gate import Gate


async def settled():
    """Lets all tasks go as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_than_its_places_are_taken():
    gate, inside, leave = Gate(2), [], asyncio.Event()

    async def ask(name):
        async with gate:
            inside.append(name)
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(ask(name))
        await settled()
        assert inside == ["a", "b"]
        leave.set()
    assert inside == ["a", "b", "c"]


@pytest.mark.parametrize(("wanted", "granted"), [(2, 2), (3, 3), (9, 3)])
async def test_several_are_taken_at_once_but_no_more_than_there_are(wanted, granted):
    gate = Gate(3)
    async with gate.several(wanted) as given:
        assert given == granted
        left = [asyncio.create_task(gate.__aenter__()) for _ in range(3)]
        await settled()
        assert sum(each.done() for each in left) == 3 - granted
    await asyncio.gather(*left)


async def test_two_that_want_all_of_them_take_turns():
    gate, now, most = Gate(3), 0, 0

    async def harness():
        nonlocal now, most
        async with gate.several(3) as given:
            now += given
            most = max(most, now)
            await settled()
            now -= given

    async with gate:
        waiting = [asyncio.create_task(harness()) for _ in range(2)]
        await settled()
        assert now == 0
    await asyncio.gather(*waiting)
    assert most == 3


async def test_who_stops_waiting_gives_back_what_it_had():
    gate = Gate(2)

    async def harness():
        async with gate.several(2):
            raise AssertionError("there was no second place")

    async with gate:
        waiting = asyncio.create_task(harness())
        await settled()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with gate:
            pass
