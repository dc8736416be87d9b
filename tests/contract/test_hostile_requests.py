"""Requests that try to get around the operator's choices, and moments at which answers are easily spoilt."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest

from proxy.testing import Fault, Reply
from tests.rawhttp import Reader, ask, head, with_length

CHAT = b"/v1/chat/completions"
EVENTS = [
    b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]


def chat(**fields) -> bytes:
    document = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "hi"}], **fields}
    return with_length(b"POST", CHAT, json.dumps(document).encode())


def test_a_client_cannot_choose_the_upstream(model_server, sidecar):
    configured, other = model_server(), model_server()
    proxy = sidecar(configured)
    for target in (b"*@127.0.0.1:%d/v1/models" % other.port, b"@127.0.0.1:%d/x" % other.port, b"*"):
        with proxy.connect() as connection:
            assert ask(connection, head(b"GET", target)).status == 400
    assert other.requests == []
    assert configured.requests == []


@pytest.mark.parametrize("target", [b"//127.0.0.1/x", b"/@evil/x", b"/a:b@c/d?x=@e:1"])
def test_an_odd_path_stays_a_path(model_server, sidecar, target):
    server = model_server()
    with sidecar(server).connect() as connection:
        ask(connection, head(b"GET", target))
    [request] = server.requests
    assert request.target == target


def test_control_headers_that_contradict_themselves_are_refused(model_server, sidecar):
    server = model_server()
    with sidecar(server).connect() as connection:
        twice = [(b"x-evalside-run", b"a"), (b"x-evalside-run", b"b")]
        answer = ask(connection, head(b"GET", b"/v1/models", twice))
    assert (answer.status, answer.code, server.requests) == (400, "invalid_header", [])


def test_the_token_is_taken_out_of_whatever_header_holds_it(model_server, sidecar, monkeypatch):
    monkeypatch.setenv("SIDECAR_TOKEN", "sesame-sesame")
    server = model_server()
    proxy = sidecar(server, auth={"token_name": "SIDECAR_TOKEN"})
    headers = [(b"Authorization", b"Bearer other"), (b"Authorization", b"Bearer sesame-sesame")]
    headers.append((b"X-Api-Key", b"sesame-sesame"))
    with proxy.connect() as connection:
        assert ask(connection, head(b"GET", b"/v1/models", headers)).status == 200
    [request] = server.requests
    assert [value for _, value in request.headers if b"sesame" in value] == []
    assert request.header_values("authorization") == ["Bearer other"]


def test_a_304_of_a_pipeline_route_leaves_the_connection_usable(model_server, sidecar):
    server = model_server()
    server.enqueue(Reply(status=304, headers=[(b"Content-Length", b"10")], framing="close", keep_alive=False))
    with sidecar(server).connect() as connection:
        assert ask(connection, chat()).status == 304
        assert ask(connection, chat()).status == 200


def test_all_events_without_a_clean_end_are_not_stored(model_server, sidecar):
    server = model_server()
    proxy = sidecar(server)
    server.enqueue(Reply(
        headers=[(b"Content-Type", b"text/event-stream")], chunks=[*EVENTS, b": bye\n\n"],
        fault=Fault.CLOSE_IN_BODY, after_chunks=2,
    ))  # fmt: skip
    for expected in (b"miss", b"miss", b"hit"):
        with proxy.connect() as connection:
            assert ask(connection, chat(stream=True)).header(b"x-evalside-cache") == expected


@pytest.mark.parametrize("content_type", [b"Text/Event-Stream; charset=utf-8", b"application/x-ndjson"])
def test_a_stream_of_any_name_is_relayed_as_it_comes(model_server, sidecar, content_type):
    server = model_server()
    reply = Reply(
        headers=[(b"Content-Type", content_type)], chunks=[b"one", b"two"], fault=Fault.STALL_IN_BODY, after_chunks=1
    )
    server.enqueue(reply)
    with sidecar(server).connect() as connection:
        connection.sendall(chat(stream=True))
        reader = Reader(connection)
        assert reader.start().status == 200
        assert reader.chunk() == b"one"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_is_told_when_the_sidecar_stops(model_server, tmp_path, stream):
    server = model_server()
    fault = {"fault": Fault.STALL_IN_BODY, "after_chunks": 1} if stream else {"fault": Fault.STALL_BEFORE_HEADERS}
    server.enqueue(Reply(headers=[(b"Content-Type", b"text/event-stream")], chunks=EVENTS, **fault))
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy.cli", "serve", "--upstream", server.url, "--port", "0"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr
    port = int(process.stderr.readline().partition("127.0.0.1:")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(chat(stream=stream))
        server.wait_for_requests(1)
        reader = Reader(connection)
        if stream:
            assert reader.start().status == 200
            assert reader.chunk() == EVENTS[0]
        process.send_signal(signal.SIGTERM)
        if stream:
            assert b'"shutting_down"' in (reader.chunk() or b"")
        else:
            assert reader.start().status == 503
    said = process.stderr.read()
    process.wait(20)
    assert "Traceback" not in said
