import socket

import httpx
import pytest

from proxy.testing import Fault, Reply
from proxy.upstream.address import parse_address
from proxy.upstream.health import answers
from proxy.upstream.http1 import Http1Transport
from proxy.upstream.transport import AiohttpTransport


@pytest.fixture(params=[AiohttpTransport, Http1Transport])
def make_transport(request):
    """Both transports keep the same contract."""
    return request.param


async def send(url, transport, *, headers=(), target=b"/v1/x", method="GET"):
    request = httpx.Request(method, url, headers=headers, extensions={"target": target, "timeout": {"connect": 2}})
    response = await transport.handle_async_request(request)
    try:
        return response.status_code, b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(fault=Fault.CLOSE_BEFORE_ANSWER), httpx.RemoteProtocolError),
        (Reply(fault=Fault.RESET_BEFORE_ANSWER), httpx.ReadError),
        (Reply(fault=Fault.CLOSE_IN_STATUS_LINE), httpx.RemoteProtocolError),
        (Reply(fault=Fault.GARBAGE), httpx.RemoteProtocolError),
        (Reply(body=b"0123456789", fault=Fault.CLOSE_IN_BODY), httpx.RemoteProtocolError),
        (Reply(body=b"0123456789", fault=Fault.RESET_IN_BODY), (httpx.RemoteProtocolError, httpx.ReadError)),
        (Reply(chunks=[b"abc"], fault=Fault.GARBAGE, body=b""), httpx.RemoteProtocolError),
        (Reply(body=b"zz\r\nnot a chunk", headers=[(b"Transfer-Encoding", b"chunked")]), httpx.RemoteProtocolError),
    ],
)
async def test_failures_of_the_server(model_server, reply, error, make_transport):
    server = model_server()
    server.on("/v1/x", reply)
    async with make_transport() as transport:
        with pytest.raises(error):
            await send(server.url, transport)
    assert len(server.requests) == 1


async def test_refused_connection(make_transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with make_transport() as transport:
        with pytest.raises(httpx.ConnectError):
            await send(f"http://127.0.0.1:{port}", transport)
        assert "127.0.0.1" in await answers(transport, parse_address(f"http://127.0.0.1:{port}"))


@pytest.mark.parametrize("value", [b"\xe9", b"a\x00b", b"a\r\nb"])
async def test_headers_that_cannot_be_sent(model_server, value, make_transport):
    server = model_server()
    async with make_transport() as transport:
        with pytest.raises(httpx.LocalProtocolError):
            await send(server.url, transport, headers=[(b"x", value)])
        with pytest.raises(httpx.LocalProtocolError):
            await send(server.url, transport, target=b"*")
    assert server.requests == []


@pytest.mark.parametrize("partial", [b"H", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
async def test_half_an_answer_and_a_reset_on_a_reused_connection_is_not_retried(partial, make_transport):
    """A reset looks alike before and after the first byte, but only before it may the request be sent again."""
    import asyncio
    import struct

    requests = []

    async def serve(reader, writer):
        try:
            while True:
                requests.append(await reader.readuntil(b"\r\n\r\n"))
                if len(requests) == 1:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    continue
                writer.write(partial)
                await writer.drain()
                await asyncio.wait_for(reader.read(1), 0.05)
        except TimeoutError:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, make_transport() as transport:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await send(url, transport))[0] == 200
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await send(url, transport)
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ({"/health": 200}, ""),
        ({"/health": 404, "/v1/models": 401}, ""),
        ({"/health": 404, "/v1/models": 404, "/v1/triton_health": 200}, ""),
        ({"/health": 503, "/v1/models": 404, "/v1/triton_health": 500}, "500 on /v1/triton_health"),
    ],
)
async def test_health(model_server, replies, said, make_transport):
    server = model_server()
    for path, status in replies.items():
        server.on(path, Reply(status))
    async with make_transport() as transport:
        assert await answers(transport, parse_address(server.url)) == said


@pytest.mark.parametrize(
    "reply",
    [
        Reply(fault=Fault.CLOSE_BEFORE_ANSWER),
        Reply(fault=Fault.RESET_BEFORE_ANSWER),
        Reply(fault=Fault.GARBAGE),
        Reply(body=b"0123456789", fault=Fault.CLOSE_IN_BODY),
    ],
)
async def test_a_connection_that_fails_is_a_doubt(model_server, reply, make_transport):
    server, doubts = model_server(), []
    server.on("/v1/x", reply)
    async with make_transport(on_doubt=lambda: doubts.append(1)) as transport:
        with pytest.raises(httpx.TransportError):
            await send(server.url, transport)
        assert len(doubts) == 1
        server.stop()
        with pytest.raises(httpx.ConnectError):
            await send(server.url, transport)
    assert len(doubts) == 2


async def test_a_reused_connection_that_died_is_a_doubt_too(model_server, make_transport):
    server, doubts = model_server(), []
    server.on("/v1/x", Reply(fault=Fault.CLOSE_ON_NEXT_REQUEST))
    async with make_transport(on_doubt=lambda: doubts.append(1)) as transport:
        assert (await send(server.url, transport))[0] == 200
        assert doubts == []
        assert (await send(server.url, transport))[0] == 200
    assert doubts == [1]


async def test_a_request_that_cannot_be_sent_is_no_doubt(model_server, make_transport):
    server, doubts = model_server(), []
    async with make_transport(on_doubt=lambda: doubts.append(1)) as transport:
        with pytest.raises(httpx.LocalProtocolError):
            await send(server.url, transport, headers=[(b"x", b"a\r\nb")])
        assert (await send(server.url, transport))[0] == 404
    assert doubts == []


@pytest.mark.parametrize("reset", [False, True])
async def test_an_idle_connection_that_the_server_ends_is_a_lapse(reset, make_transport):
    import asyncio
    import struct

    connections, lapsed = [], asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connections.append(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, make_transport() as transport:
        transport.on_lapse = lapsed.set
        assert (await send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", transport))[0] == 200
        assert not lapsed.is_set()
        [writer] = connections
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        await lapsed.wait()


async def test_an_end_that_was_announced_is_no_lapse(model_server, make_transport):
    server, lapses = model_server(), []
    server.on("/v1/x", Reply(body=b"x", keep_alive=False))
    async with make_transport(on_lapse=lambda: lapses.append(1)) as transport:
        for _ in range(3):
            assert (await send(server.url, transport))[0] == 200
    assert lapses == []
