"""What a broken, hostile or merely odd model server may do to one connection, byte for byte, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import httpx
import pytest
import uvloop

from proxy.upstream import connection as connection_module
from proxy.upstream.http1 import Http1Transport
from tests.fault.peer import has_ipv6, is_hung_up_on, peer, request_on, reset, say

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

pytestmark = pytest.mark.fault


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine to its end, within seconds."""

    def to_its_end(work):
        async def limited():
            async with asyncio.timeout(20):
                return await work

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(limited())

    return to_its_end


async def ask(transport, url, *, method="POST", body=b"{}", connect=2.0):
    headers = [(b"Host", b"x"), (b"Content-Length", b"%d" % len(body))]
    request = httpx.Request(
        method, url, headers=headers, stream=httpx.ByteStream(body), extensions={"timeout": {"connect": connect}}
    )
    response = await transport.handle_async_request(request)
    try:
        return response.status_code, b"".join([chunk async for chunk in response.stream]), response.headers.raw
    finally:
        await response.aclose()


async def served(server, *answers, transport, method="GET", **options):
    """Ask once; each of `answers` is a packet of its own."""
    asking = asyncio.create_task(ask(transport, server.url, method=method, **options))
    connection = await server.accept()
    await request_on(connection)
    for part in answers:
        say(connection, part)
        await asyncio.sleep(0)
    return connection, asking


# -- an answer belongs to its request ---------------------------------------------------------------------------------


async def answered_by_another_connection(server, transport):
    """The next request gets its own answer, over a connection of its own."""
    again = asyncio.create_task(ask(transport, server.url))
    second = await server.accept()
    await request_on(second)
    say(second, OK)
    assert (await again)[:2] == (200, b"ok")


@pytest.mark.parametrize("head", [OK, b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n"])
def test_an_answer_that_nobody_asked_for_is_given_to_nobody(run, head):
    """It lies in the kernel when the next request wants the connection: the loop has not seen it yet."""

    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                first, asking = await served(server, head, transport=transport)
                await asking
                say(first, POISON)
                await answered_by_another_connection(server, transport)

    run(work())


def test_the_body_of_an_answer_to_head_is_given_to_nobody(run):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                first, asking = await served(
                    server, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", transport=transport, method="HEAD"
                )
                assert (await asking)[:2] == (200, b"")
                say(first, b"poison")
                await answered_by_another_connection(server, transport)

    run(work())


def test_the_answer_to_a_request_that_was_given_up_is_given_to_nobody(run):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                first, asking = await served(server, transport=transport)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                with contextlib.suppress(OSError):
                    say(first, POISON)
                await answered_by_another_connection(server, transport)
                assert await is_hung_up_on(first)

    run(work())


# -- what comes before the request, or instead of its answer ----------------------------------------------------------


@pytest.mark.parametrize("first_word", [b"", b"SSH-2.0-OpenSSH_9\r\n"])
@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_who_hangs_up_at_once_is_an_error(run, end, first_word):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                asking = asyncio.create_task(ask(transport, server.url))
                connection = await server.accept()
                say(connection, first_word)
                end(connection)
                outcome = await asyncio.gather(asking, return_exceptions=True)
                assert isinstance(outcome[0], httpx.TransportError), outcome

    run(work())


@pytest.mark.parametrize("ends", [True, False])
def test_an_early_answer_to_a_long_request_is_read(run, ends):
    """A server that refuses a body does not read it: what it says of that has to arrive all the same."""

    async def work():
        refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"
        with peer() as server:
            async with Http1Transport() as transport:
                connection, asking = await served(
                    server, refusal, transport=transport, method="POST", body=bytes(30_000_000)
                )
                if ends:
                    connection.close()
                assert (await asking)[:2] == (413, b"big")
                await answered_by_another_connection(server, transport)

    run(work())


def test_an_interim_answer_and_a_reset_on_a_reused_connection_is_not_sent_again(run):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                first, asking = await served(server, OK, transport=transport)
                await asking
                again = asyncio.create_task(ask(transport, server.url))
                await request_on(first)
                say(first, b"HTTP/1.1 100 Continue\r\n\r\n")
                await asyncio.sleep(0.05)
                reset(first)
                with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                    await again
                assert not server.is_asked

    run(work())


# -- whether a body is whole ------------------------------------------------------------------------------------------

CUT = {
    "reset behind the head": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",),
    "reset in a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",),
    "reset in a body without length": (b"HTTP/1.1 200 OK\r\n\r\nok",),
    "reset in a chunk": (CHUNKED + b"5\r\nok",),
    "reset before the last chunk": (CHUNKED + b"2\r\nok\r\n",),
    "reset in the last chunk": (CHUNKED + b"2\r\nok\r\n0\r\n",),
    "reset in a trailer": (CHUNKED + b"2\r\nok\r\n0\r\nX-Trailer: 1\r\n",),
}


@pytest.mark.parametrize("end", [socket.socket.close, reset])
@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_a_cut_body_is_an_error(run, answer, end):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                connection, asking = await served(server, *answer, transport=transport)
                end(connection)
                outcome = await asyncio.gather(asking, return_exceptions=True)
                if end is socket.socket.close and answer == CUT["reset in a body without length"]:
                    assert outcome[0] == (200, b"ok", [])  # that is how such a body ends
                else:
                    assert isinstance(outcome[0], httpx.TransportError), outcome

    run(work())


BROKEN = {
    "negative chunk": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "chunk with 0x": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "chunk size with a space": CHUNKED + b" 2\r\nok\r\n0\r\n\r\n",
    "chunk size without digits": CHUNKED + b"\r\nok\r\n0\r\n\r\n",
    "chunk size that overflows": CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nok\r\n0\r\n\r\n",
    "chunk that is longer than it says": CHUNKED + b"1\r\nok\r\n0\r\n\r\n",
    "chunk that is shorter than it says": CHUNKED + b"3\r\nok\r\n0\r\n\r\n",
    "line feeds alone": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "chunk with a line feed alone": CHUNKED + b"2\nok\n0\n\n",
    "length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "two lengths in one": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length that overflows": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok",
    "coded beneath its chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coded in a field of its own": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    "coded and chunked the wrong way round": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n",
    "coded until the end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: deflate\r\n\r\nok",
    "zero in a field": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "carriage return in a field": b"HTTP/1.1 200 OK\r\nX: a\rb: c\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "not a status": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2": b"HTTP/2 200\r\ncontent-length: 2\r\n\r\nok",
    "interim answers without end": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 10_000,
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_what_is_not_http_is_an_error(run, answer):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                connection, asking = await served(server, answer, transport=transport)
                connection.shutdown(socket.SHUT_WR)
                outcome = await asyncio.gather(asking, return_exceptions=True)
                assert isinstance(outcome[0], httpx.RemoteProtocolError), outcome

    run(work())


ODD = {
    "offers another protocol": b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
    "chunked in capitals": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "without a reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "chunk sizes with zeros before": CHUNKED + b"0002\r\nok\r\n000\r\n\r\n",
    "bytes that are no ASCII": b"HTTP/1.1 200 OK\r\nX: \xe9\xff\r\nContent-Length: 2\r\n\r\nok",
    "a large head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_what_is_odd_is_read_whatever_the_packets(run, answer):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                step = max(1, len(answer) // 200)
                packets = [answer[at : at + step] for at in range(0, len(answer), step)]
                _, asking = await served(server, *packets, transport=transport)
                assert (await asking)[:2] == (200, b"ok")

    run(work())


def test_a_folded_field_is_one_line_or_an_error(run):
    """Relayed as it is, it would say something else to the client."""

    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                answer = b"HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: b\r\nContent-Length: 2\r\n\r\nok"
                _, asking = await served(server, answer, transport=transport)
                with contextlib.suppress(httpx.RemoteProtocolError):
                    _, _, headers = await asking
                    assert not any(b"\r" in value or b"\n" in value for _, value in headers)

    run(work())


# -- who reads, and who has stopped reading ---------------------------------------------------------------------------


async def answered(transport, server, said):
    """The response whose beginning is `said`, and the connection it came on."""
    asking = asyncio.create_task(transport.handle_async_request(httpx.Request("GET", server.url)))
    connection = await server.accept()
    await request_on(connection)
    say(connection, said)
    response = await asking
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return response, response.stream, connection


def test_a_reader_whose_body_is_closed_meanwhile_does_not_wait_for_ever(run):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                response, stream, connection = await answered(transport, server, CHUNKED)
                reading = asyncio.ensure_future(anext(aiter(stream)))
                await asyncio.sleep(0)
                await response.aclose()
                with pytest.raises(httpx.ReadError):
                    await reading
                assert await is_hung_up_on(connection)

    run(work())


def test_a_body_that_was_closed_before_its_end_does_not_look_complete(run):
    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                _, stream, _ = await answered(transport, server, CHUNKED + b"2\r\nok\r\n")
                assert await anext(aiter(stream)) == b"ok"
                await stream.aclose()
                with pytest.raises(httpx.ReadError):
                    await anext(aiter(stream))

    run(work())


def test_who_leaves_while_the_server_is_held_back_hangs_up(run, monkeypatch):
    monkeypatch.setattr(connection_module, "_HIGH_WATER", 1000)

    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"
                response, _, connection = await answered(transport, server, head + bytes(100_000))
                await response.aclose()
                assert await is_hung_up_on(connection)
            assert not transport._open

    run(work())


# -- connecting -------------------------------------------------------------------------------------------------------


def test_a_server_that_is_down_leaves_nothing_behind(run):
    async def work():
        with peer() as server:
            url = server.url
        async with Http1Transport() as transport:
            for _ in range(20):
                with pytest.raises(httpx.ConnectError):
                    await ask(transport, url)
            await asyncio.sleep(0)
            assert not transport._open

    run(work())


@pytest.mark.parametrize("leaves", [True, False])
def test_who_leaves_while_it_connects_leaves_nothing_behind(run, leaves):
    """The queue of the listener is full, so that no connection is made."""

    async def work():
        with peer(backlog=0) as server, contextlib.ExitStack() as stack:
            port = server.listener.getsockname()[1]
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with Http1Transport() as transport:
                asking = asyncio.create_task(ask(transport, server.url, connect=30 if leaves else 0.05))
                if leaves:
                    await asyncio.sleep(0.05)
                    asking.cancel()
                outcome = (await asyncio.gather(asking, return_exceptions=True))[0]
                assert isinstance(outcome, asyncio.CancelledError if leaves else httpx.ConnectTimeout), outcome
                await asyncio.sleep(0.01)
                assert not transport._open

    run(work())


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on loopback")
def test_a_server_on_ipv6_is_asked(run):
    async def work():
        with peer(socket.AF_INET6) as server:
            async with Http1Transport() as transport:
                _, asking = await served(server, OK, transport=transport)
                assert (await asking)[:2] == (200, b"ok")

    run(work())


def test_a_name_with_several_addresses_is_tried_to_the_last(run):
    """`localhost` is often ::1 first, and many servers listen on 127.0.0.1 alone."""

    async def work():
        with peer() as server:
            async with Http1Transport() as transport:
                server.url = server.url.replace("127.0.0.1", "localhost")
                _, asking = await served(server, OK, transport=transport)
                assert (await asking)[:2] == (200, b"ok")

    run(work())
