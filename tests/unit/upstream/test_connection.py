"""What servers may send, byte for byte: both transports read it the same."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from proxy.upstream import connection, http1
from proxy.upstream.http1 import Http1Transport
from proxy.upstream.transport import AiohttpTransport
from tests.waiting import until


@pytest.fixture(params=[AiohttpTransport, Http1Transport])
def make_transport(request):
    return request.param


@asynccontextmanager
async def serving(*answers, close=False):
    """A server that gives these bytes, one for each request; yields its URL and how many connections it has had."""
    connections = []
    waiting = list(answers)

    async def serve(reader, writer):
        connections.append(writer)
        try:
            while waiting:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(waiting.pop(0))
                if close:
                    break
            if close or not waiting:
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        if close:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        for writer in connections:
            writer.close()


async def ask(transport, url, method="GET"):
    response = await transport.handle_async_request(httpx.Request(method, url))
    try:
        body = b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()
    return response.status_code, body, response


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;ext=1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    ],
)
async def test_an_answer_is_read_and_the_connection_used_again(make_transport, answer, status, body):
    async with serving(answer, OK) as (url, connections), make_transport() as transport:
        assert (await ask(transport, url))[:2] == (status, body)
        assert (await ask(transport, url))[:2] == (200, b"ok")
    assert len(connections) == 1


async def test_headers_are_those_of_the_answer(make_transport):
    answer = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 Fine By Me\r\nX-One: 1\r\nx-one:  2 \r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    async with serving(answer) as (url, _), make_transport() as transport:
        _, _, response = await ask(transport, url)
    assert response.headers.raw == [(b"X-One", b"1"), (b"x-one", b"2"), (b"Transfer-Encoding", b"chunked")]
    assert response.extensions["reason_phrase"] == b"Fine By Me"


async def test_the_answer_to_head_has_no_body(make_transport):
    answers = (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", OK)
    async with serving(*answers) as (url, connections), make_transport() as transport:
        assert (await ask(transport, url, "HEAD"))[:2] == (200, b"")
        assert (await ask(transport, url))[:2] == (200, b"ok")
    assert len(connections) == 1


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_a_body_may_end_with_the_connection(make_transport, version):
    answer = version + b" 200 OK\r\n\r\nall of it"
    async with serving(answer, close=True) as (url, _), make_transport() as transport:
        assert (await ask(transport, url))[:2] == (200, b"all of it")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
async def test_what_is_cut_or_no_answer_is_an_error(answer):
    async with serving(answer, close=True) as (url, _), Http1Transport() as transport:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, url)


@pytest.mark.parametrize(
    "answer",
    [OK + OK, OK + b"garbage", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"],
)
async def test_behind_what_nobody_asked_for_no_request_is_sent(answer):
    async with serving(answer, OK) as (url, connections), Http1Transport() as transport:
        assert (await ask(transport, url))[:2] == (200, b"ok")
        connections[0].close()
        assert (await ask(transport, url))[:2] == (200, b"ok")
    assert len(connections) == 2


async def test_who_sends_headers_without_end_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(connection, "_LARGEST_HEAD", 1000)
    answer = b"HTTP/1.1 200 OK\r\n" + b"X-Long: 1\r\n" * 200
    async with serving(answer) as (url, _), Http1Transport() as transport:
        with pytest.raises(httpx.RemoteProtocolError, match="header fields"):
            await ask(transport, url)


async def test_a_slow_reader_holds_the_server_back(monkeypatch):
    monkeypatch.setattr(connection, "_HIGH_WATER", 1000)
    size = 20_000_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    async with serving(answer) as (url, connections), Http1Transport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        chunks = aiter(response.stream)
        read = len(await anext(chunks))
        await until(lambda: connections[0].transport.get_write_buffer_size() > 0)  # the kernel's buffers are full
        read += sum([len(chunk) async for chunk in chunks])
        await response.aclose()
    assert read == size


async def test_who_is_cancelled_hangs_up(make_transport):
    gone = asyncio.Event()
    asked = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, make_transport() as transport:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        task = asyncio.create_task(ask(transport, url))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert await asyncio.wait_for(gone.wait(), 10)


async def test_a_stream_that_is_left_is_hung_up_on(make_transport):
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
    async with serving(begun, OK) as (url, connections), make_transport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", url))
        assert await anext(aiter(response.stream)) == b"ok"
        await response.aclose()
        assert (await ask(transport, url))[:2] == (200, b"ok")
    assert len(connections) == 2


async def test_idle_connections_are_closed_in_the_end(monkeypatch):
    monkeypatch.setattr(http1, "IDLE", 0.05)
    async with serving(OK, OK) as (url, connections), Http1Transport() as transport:
        await ask(transport, url)
        await until(lambda: not transport._open)  # the sweep comes by itself
        await ask(transport, url)
    assert len(connections) == 2


@pytest.mark.parametrize(
    ("headers", "target"),
    [([(b"a b", b"1")], b"/"), ([(b"a:", b"1")], b"/"), ([], b"/a b"), ([], b"/a\r\nb"), ([], b"http://x/")],
)
async def test_what_would_say_something_else_on_the_wire_is_not_sent(headers, target):
    request = httpx.Request("GET", "http://127.0.0.1:1", headers=headers, extensions={"target": target})
    async with Http1Transport() as transport:
        with pytest.raises(httpx.LocalProtocolError):
            await transport.handle_async_request(request)
