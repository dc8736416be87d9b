import asyncio
import contextlib

import pytest

from tests.bench import servers
from tests.bench.crowd import Crowd
from tests.bench.looks import Look
from tests.bench.soak import LOOKS, Soak, soak

pytestmark = pytest.mark.fault


@contextlib.contextmanager
def started(folder, *, connections=10, rate=60.0):
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream())
        server = stack.enter_context(servers.sidecar("soaked", upstream.url, folder / "s"))
        yield server, Soak(Crowd(server.url, upstream.url, rate, connections))


async def test_clients_get_what_they_ask_for_whatever_the_others_do(tmp_path):
    told: list[Look] = []
    with started(tmp_path) as (server, seen):
        await soak(seen, server, seconds=4, store=tmp_path / "s", tell=told.append)
    assert seen.crowd.wrong == {}
    assert sum(seen.crowd.done.values()) > 20
    assert len(seen.looks) == LOOKS + 1
    assert told == seen.looks[1:]
    assert 0 < seen.looks[-1].requests <= seen.crowd.number  # some were still answered after the last look
    assert seen.looks[-1].store_mb > 0
    assert any(look.p50_ms and look.relay_ms for look in seen.looks)
    assert seen.idle is not None


async def test_what_was_seen_of_a_soak_that_is_stopped_is_kept(tmp_path):
    looked = asyncio.Event()
    with started(tmp_path) as (server, seen):
        asking = asyncio.create_task(soak(seen, server, seconds=36, store=tmp_path / "s", tell=lambda _: looked.set()))
        await looked.wait()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
    assert len(seen.looks) == 2
    assert seen.idle is None
    assert any("say nothing" in line for line in seen.failures())


async def test_a_server_that_is_gone_is_told_and_ends_no_soak(tmp_path):
    with started(tmp_path, rate=400.0) as (relay, seen):
        seen.crowd.relay, seen.crowd.url = relay.url, "http://127.0.0.1:1"
        await soak(seen, relay, seconds=1, store=tmp_path)
    assert any(what.startswith("connecting:") for what in seen.crowd.wrong)
