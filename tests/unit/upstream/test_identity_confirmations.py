"""Probes that several wait for: which one counts for whom, and how few there are."""

from __future__ import annotations

import asyncio

from tests.unit.upstream.watching import Clock, gated, settled, watching


async def test_confirmations_share_one_probe_that_begins_after_them():
    async with gated() as (server, url), watching(url) as watch:
        before = await watch.current([], "m")
        server.gate.clear()
        server.arrived.clear()
        server.asked.clear()
        early = [asyncio.create_task(watch.confirmed(before, [], "m")) for _ in range(50)]
        await server.arrived.wait()
        late = [asyncio.create_task(watch.confirmed(before, [], "m")) for _ in range(50)]
        await settled()
        assert server.probes() == 1
        server.bodies["/version"] = b'{"version":"2"}'  # both probes see it, and the first one already was asked
        server.gate.set()
        assert await asyncio.gather(*early, *late) == [False] * 100
        # The first saw a change and asked everything, the second confirmed it.
        assert server.probes() == 3


async def test_a_confirmation_does_not_take_a_probe_that_began_before_it():
    async with gated() as (server, url), watching(url) as watch:
        before = await watch.current([], "m")
        server.gate.clear()
        server.arrived.clear()
        early = asyncio.create_task(watch.confirmed(before, [], "m"))
        await server.arrived.wait()
        late = asyncio.create_task(watch.confirmed(before, [], "m"))
        await settled()
        server.gate.set()
        assert await early
        server.bodies["/version"] = b'{"version":"2"}'
        assert not await late


async def test_confirmations_are_few_while_answers_stream_in():
    async with gated() as (server, url), watching(url) as watch:
        loop = asyncio.get_running_loop()
        before = await watch.current([], "m")
        server.asked.clear()
        began = loop.time()
        for _ in range(5):
            assert all(await asyncio.gather(*(watch.confirmed(before, [], "m") for _ in range(200))))
        assert server.probes() == 5
        assert loop.time() - began >= 4 * 0.1


async def test_a_confirmation_that_a_client_waits_for_does_not_keep_the_distance():
    async with gated() as (_, url), watching(url, clock=Clock()) as watch:
        before = await watch.current([], "m")
        watch._gap = 1e6
        confirmation = asyncio.create_task(watch.confirmed(before, [], "m"))
        await settled()
        assert not confirmation.done()
        watch.hurry()
        assert await confirmation


async def test_a_slow_server_does_not_hold_answers_back_for_long():
    async with gated() as (server, url), watching(url, clock=(clock := Clock())) as watch:
        server.on_probe = lambda: setattr(clock, "now", clock.now + 4)  # within its patience, and before it is old
        await watch.current([], "m")
        assert watch._gap == 1.0


async def test_a_lookup_does_not_wait_for_the_distance_between_probes():
    async with gated() as (_, url), watching(url, clock=Clock()) as watch:
        before = await watch.current([], "m")
        watch._gap = 1e6
        confirmation = asyncio.create_task(watch.confirmed(before, [], "m"))
        await settled()
        assert not confirmation.done()
        watch.doubt()
        assert await watch.current([], "m") == before
        assert await confirmation


async def test_lookups_share_a_probe_that_already_runs():
    async with gated() as (server, url), watching(url) as watch:
        server.gate.clear()
        first = asyncio.create_task(watch.current([], "m"))
        await server.arrived.wait()
        others = [asyncio.create_task(watch.current([], "m")) for _ in range(20)]
        await settled()
        server.gate.set()
        assert len({identity.name for identity in await asyncio.gather(first, *others)}) == 1
        assert server.probes() == 1


async def test_a_doubt_during_a_probe_asks_again():
    async with gated() as (server, url), watching(url) as watch:
        server.gate.clear()
        first = asyncio.create_task(watch.current([], "m"))
        await server.arrived.wait()
        watch.doubt()
        server.gate.set()
        assert await first is not None
        assert server.probes() == 2


async def test_no_identity_while_there_is_one_doubt_after_the_other():
    async with gated() as (server, url), watching(url) as watch:
        server.on_probe = watch.doubt
        assert await watch.current([], "m") is None
        assert server.probes() == 2


async def test_a_cancelled_caller_does_not_end_the_probe_of_the_others():
    async with gated() as (server, url), watching(url) as watch:
        server.gate.clear()
        gone, stays = (asyncio.create_task(watch.current([], "m")) for _ in range(2))
        await server.arrived.wait()
        gone.cancel()
        await settled()
        server.gate.set()
        assert await stays is not None
        assert gone.cancelled()


async def test_closing_ends_the_probe_and_tells_who_waits():
    async with gated() as (server, url), watching(url) as watch:
        before = await watch.current([], "m")
        server.gate.clear()
        server.arrived.clear()
        running = asyncio.create_task(watch.confirmed(before, [], "m"))
        await server.arrived.wait()
        waiting = asyncio.create_task(watch.confirmed(before, [], "m"))
        await settled()
        await watch.aclose()
        assert not any(await asyncio.gather(running, waiting))
        assert not [task for task in asyncio.all_tasks() if "_probe_while_wanted" in repr(task)]


async def test_a_probe_leaves_one_connection_open():
    """Each of the others would end some time later, and look like a server that stops."""
    async with gated() as (_, url), watching(url) as watch:
        await watch.current([], "m")
        await settled()
        assert not watch._lapsed
        assert watch._doubts == 0
