"""Connections on both sides: pipelining, replacement of dead ones, and what a bare uvicorn adds."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.testing import Fault, ModelServer, Reply
from tests.contract.raw import CHAT, RELAYED, chat, post
from tests.rawhttp import Reader, ask, head


def test_expected_continue_is_answered_here(pair):
    server, proxy = pair
    body = chat()
    with proxy.connect() as connection:
        connection.sendall(head(b"POST", CHAT, [(b"Content-Length", b"%d" % len(body)), (b"Expect", b"100-continue")]))
        reader = Reader(connection)
        assert reader.start().status == 100
        connection.sendall(body)
        assert reader.answer().status == 200
    assert server.requests[0].header("expect") is None


def test_pipelined_requests_are_answered_in_order(pair):
    server, proxy = pair
    with proxy.connect() as connection:
        connection.sendall(b"".join(post(b"/v1/%d" % index, b"x") for index in range(5)))
        reader = Reader(connection)
        assert [reader.answer().status for _ in range(5)] == [404] * 5
    assert [request.path for request in server.requests] == [f"/v1/{index}" for index in range(5)]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(fault=Fault.CLOSE_BEFORE_ANSWER), 200),
        (Reply(fault=Fault.RESET_BEFORE_ANSWER), 200),
        (Reply(fault=Fault.CLOSE_IN_STATUS_LINE), 502),
        (Reply(fault=Fault.CLOSE_IN_STATUS_LINE, after_bytes=1), 502),
        (Reply(fault=Fault.GARBAGE), 502),
        (Reply(body=b"0123456789", fault=Fault.CLOSE_AFTER_HEADERS), 502),
        (Reply(body=b"0123456789", fault=Fault.RESET_IN_BODY), 502),
    ],
)
def test_only_a_reused_connection_that_died_unanswered_is_replaced(pair, reply, status):
    server, proxy = pair
    for fresh in (True, False):
        if not fresh:
            with proxy.connect() as connection:
                assert ask(connection, head(b"GET", b"/health"), b"GET").status == 200
        server.clear()
        server.enqueue(reply)
        with proxy.connect() as connection:
            answer = ask(connection, post(CHAT, chat(seed=int(fresh))))
        expected = 502 if fresh else status
        assert answer.status == expected
        assert expected == 200 or answer.code == "upstream_incomplete"
        assert len(server.requests) == (2 if expected == 200 else 1)


def test_connection_closed_while_idle_is_replaced_without_a_trace(pair):
    server, proxy = pair
    with proxy.connect() as connection:
        for fault in (Fault.CLOSE_ON_NEXT_REQUEST, Fault.CLOSE_AFTER_ANSWER, Fault.HALF_CLOSE):
            server.enqueue(Reply(body=b"{}", fault=fault))
            assert ask(connection, post(RELAYED, b"")).status == 200
            assert ask(connection, post(RELAYED, b"")).status == 404  # what the mock says of the route


def test_date_and_server_are_the_upstreams_under_a_bare_uvicorn(model_server, tmp_path):
    server = model_server()
    given = [(b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"Server", b"the-model-server")]
    server.on("/v1/anything", Reply(json={}, headers=given))
    with (
        bare_uvicorn(server, tmp_path) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        relayed = ask(connection, post(RELAYED, b""))
        ours = ask(connection, post(CHAT, b"{"))
    assert (relayed.values(b"date"), relayed.values(b"server")) == ([given[0][1]], [given[1][1]])
    assert ours.status == 400
    assert len(ours.values(b"date")) == 1


@contextlib.contextmanager
def bare_uvicorn(server: ModelServer, folder: Path) -> Iterator[int]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EVALSIDE_")},
        "EVALSIDE_UPSTREAM__URL": server.url,
        "PYTHONPATH": str(Path.cwd()),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "proxy.app:app", "--port", "0"],
        cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        found = next((match for line in process.stderr if (match := re.search(r"127\.0\.0\.1:(\d+)", line))), None)
        assert found is not None, "uvicorn did not start"
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
