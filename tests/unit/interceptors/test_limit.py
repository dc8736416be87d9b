import asyncio

import pytest

from proxy.core.errors import QueueFull, UpstreamUnreachable
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.interceptors.limit import Limit, LimitConfig
from tests.unit.interceptors import alone


def exchange():
    return Exchange(Request("POST", b"/", b"", [], Payload(b"{}")), route="chat")


def limit(**options):
    return Limit(LimitConfig(**options), alone.services())


class Server:
    """Holds every request until it is let go, and knows how many there are."""

    def __init__(self, body=None):
        self.here = self.most = 0
        self.go = asyncio.Event()
        self.body = body

    async def __call__(self, exchange):
        self.here += 1
        self.most = max(self.most, self.here)
        await self.go.wait()
        self.here -= 1
        return Response(200, [], self.body() if self.body else Payload(b"{}"))


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_than_that_many_are_at_the_server():
    server, limited = Server(), limit(max_concurrent=3)
    tasks = [asyncio.create_task(limited(exchange(), server)) for _ in range(10)]
    await settle()
    assert server.here == 3
    server.go.set()
    assert [response.status for response in await asyncio.gather(*tasks)] == [200] * 10
    assert server.most == 3


async def test_more_than_may_wait_are_told_to_come_back():
    server, limited = Server(), limit(max_concurrent=1, max_waiting=1)
    tasks = [asyncio.create_task(limited(exchange(), server)) for _ in range(2)]
    await settle()
    with pytest.raises(QueueFull) as caught:
        await limited(exchange(), server)
    assert caught.value.status == 503
    assert (b"retry-after", b"1") in caught.value.response_headers()
    server.go.set()
    await asyncio.gather(*tasks)
    assert (await limited(exchange(), server)).status == 200


async def test_a_stream_keeps_its_place_until_its_end():
    server, limited = Server(lambda: alone.chunked(b"abcd", 2)), limit(max_concurrent=1)
    server.go.set()
    first = await limited(exchange(), server)
    second = asyncio.create_task(limited(exchange(), server))
    await settle()
    assert not second.done()
    assert await first.read() == b"abcd"
    await (await second).aclose()
    assert (await limited(exchange(), server)).status == 200


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_place_is_given_back_where_a_request_fails_or_its_client_leaves(leaves):
    limited, server = limit(max_concurrent=1), Server()

    async def fails(exchange):
        raise UpstreamUnreachable("no")

    if leaves:
        tasks = [asyncio.create_task(limited(exchange(), server)) for _ in range(2)]
        await settle()
        for task in tasks:
            task.cancel()
        await settle()
    else:
        with pytest.raises(UpstreamUnreachable):
            await limited(exchange(), fails)
    server.go.set()
    assert (await limited(exchange(), server)).status == 200
