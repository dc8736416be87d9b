"""Streams: chunk by chunk with back-pressure, given up with the client, and how they break and time out."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator

import pytest

from proxy.testing import Fault, Reply
from tests.contract.raw import CHAT, RELAYED, chat, post
from tests.rawhttp import Reader, ask


@pytest.mark.parametrize("target", [CHAT, RELAYED])
def test_first_chunk_is_delivered_before_the_second_exists(pair, target):
    server, proxy = pair
    told: queue.Queue[bytes] = queue.Queue()

    def chunks() -> Iterator[bytes]:
        yield b"data: 1\n\n"
        yield told.get(timeout=5)

    server.on(target.decode(), lambda request: Reply(chunks=_Once(chunks())))
    with proxy.connect() as connection:
        connection.sendall(post(target, chat(stream=True)))
        reader = Reader(connection)
        reader.start()
        assert reader.chunk() == b"data: 1\n\n"
        told.put(b"data: 2\n\n")
        assert reader.chunk() == b"data: 2\n\n"
        assert reader.chunk() == b""


class _Once:
    """An iterable for one use; its pieces are made when they are asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def test_client_that_does_not_read_stops_the_server(pair):
    server, proxy = pair
    piece, count = b"x" * 65536, 2000  # 131 MB, far more than what sockets buffer
    held = threading.Event()

    def chunks() -> Iterator[bytes]:
        for index in range(count):
            if index == 16:
                held.set()
            yield piece

    server.on("/v1/anything", lambda request: Reply(chunks=_Once(chunks())))
    with proxy.connect() as connection:
        connection.sendall(post(RELAYED, b""))
        Reader(connection).start()
        [request] = server.wait_for_requests(1)
        assert held.wait(5)
        assert not request.answered.wait(0.5)  # an unbounded buffer would take it all in a fraction of this
        assert request.chunks_sent < count / 2
    assert request.aborted.wait(5)


@pytest.mark.parametrize("fault", [Fault.STALL_BEFORE_HEADERS, Fault.STALL_IN_BODY])
@pytest.mark.parametrize("target", [CHAT, RELAYED])
@pytest.mark.parametrize("stream", [True, False])
def test_client_gone_cancels_the_upstream_call(pair, fault, target, stream):
    server, proxy = pair
    body = (
        Reply(fault=fault) if fault is Fault.STALL_BEFORE_HEADERS else Reply(chunks=[b"data: 1\n\n"] * 2, fault=fault)
    )
    server.enqueue(body)
    with proxy.connect() as connection:
        connection.sendall(post(target, chat(stream=stream)))
        [request] = server.wait_for_requests(1)
        if fault is Fault.STALL_IN_BODY:
            Reader(connection).start()
        assert not request.aborted.is_set()
    assert request.aborted.wait(5)


def test_stream_that_breaks_ends_with_one_error_event(pair):
    server, proxy = pair
    for _ in range(2):
        server.enqueue(Reply(chunks=[b"data: {}\n\n", b"data: [DONE]\n\n"], fault=Fault.CLOSE_IN_BODY))
        with proxy.connect() as connection:
            answer = ask(connection, post(CHAT, chat(stream=True)))
        events = [event for event in answer.body.split(b"\n\n") if event.strip()]
        assert (answer.status, answer.cut, len(events)) == (200, False, 2)
        assert json.loads(events[1].removeprefix(b"data: "))["error"]["code"] == "upstream_incomplete"
        assert b"[DONE]" not in answer.body
        assert answer.header(b"x-evalside-cache") == b"miss"  # the first time nothing was stored


@pytest.mark.parametrize("reply", [
    Reply(body=b"x" * 100, fault=Fault.CLOSE_IN_BODY),
    Reply(chunks=[b"data: 1\n\n"] * 3, gzip=True, fault=Fault.CLOSE_IN_BODY),
])  # fmt: skip
def test_other_answers_that_break_are_cut(pair, reply):
    server, proxy = pair
    server.enqueue(reply)
    with proxy.connect() as connection:
        answer = ask(connection, post(RELAYED, b""))
    assert answer.cut
    assert b"upstream_incomplete" not in answer.body


def test_streams_have_time_limits_and_plain_answers_none(model_server, sidecar):
    server = model_server()
    proxy = sidecar(server, upstream={"timeout": {"first_byte": 0.1, "idle": 0.1}})
    with proxy.connect() as connection:
        server.enqueue(Reply(fault=Fault.STALL_BEFORE_HEADERS))
        answer = ask(connection, post(CHAT, chat(stream=True)))
        assert (answer.status, answer.code) == (504, "upstream_timeout")
        server.enqueue(Reply(chunks=[b"data: 1\n\n"] * 2, fault=Fault.STALL_IN_BODY))
        answer = ask(connection, post(CHAT, chat(stream=True)))
        assert answer.status == 200
        assert b'"upstream_stalled"' in answer.body
        server.enqueue(Reply(chunks=[b"data: 1\n\n"] * 2, fault=Fault.STALL_IN_BODY, after_chunks=0))
        assert b'"upstream_timeout"' in ask(connection, post(CHAT, chat(stream=True))).body
        server.enqueue(Reply(json={}, delay=0.4))
        assert ask(connection, post(CHAT, chat())).status == 200
    for request in server.requests[:3]:
        assert request.aborted.wait(5)
