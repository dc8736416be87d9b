"""The invariants of docs/architecture.md, seen from outside: raw bytes in, raw bytes out, on real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.testing import Fault, ModelServer, Reply
from tests.rawhttp import Reader, ask, head, with_chunks, with_length

CHAT = b"/v1/chat/completions"
CHAT_PATH = CHAT.decode()
RELAYED = b"/v1/anything"
BOUNDED = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PARTS = st.lists(st.binary(min_size=1, max_size=3000), max_size=6)
TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n'), max_size=40), max_size=6)


def chat(**fields) -> bytes:
    return json.dumps(
        {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "hi"}], **fields}
    ).encode()


def post(target: bytes, body: bytes, *headers) -> bytes:
    return with_length(b"POST", target, body, headers)


@pytest.fixture
def pair(model_server, sidecar):
    """A model server and a sidecar with the default pipeline."""
    server = model_server()
    return server, sidecar(server)


# -- 1: the bytes ---------------------------------------------------------------------------------------------------


@BOUNDED
@given(parts=PARTS, chunked=st.booleans())
def test_request_body_arrives_byte_for_byte(pair, parts, chunked):
    server, proxy = pair
    server.on("/v1/anything", Reply(body=b"ok"))
    make = with_chunks(b"POST", RELAYED, parts) if chunked else post(RELAYED, b"".join(parts))
    with proxy.connect() as connection:
        assert ask(connection, make).body == b"ok"
    assert server.requests[-1].body == b"".join(parts)


@BOUNDED
@given(texts=TEXTS, chunked=st.booleans(), cut=st.integers(1, 60))
def test_pipeline_request_body_arrives_byte_for_byte(pair, texts, chunked, cut):
    server, proxy = pair
    body = b'{ "a":1.0,\t"b" : [' + ",".join(f'"{text}"' for text in texts).encode() + b'] ,"z": 1e400}\n'
    server.on(CHAT_PATH, Reply(json={"ok": True}))
    parts = [body[at : at + cut] for at in range(0, len(body), cut)]
    printable = all(character >= " " for text in texts for character in text)
    with proxy.connect() as connection:
        answer = ask(connection, with_chunks(b"POST", CHAT, parts) if chunked else post(CHAT, body))
    if printable:
        assert answer.status == 200
        assert server.requests[-1].body == body
    else:
        assert answer.status in {200, 400}


@BOUNDED
@given(parts=PARTS, sse=st.booleans(), streamed=st.booleans(), relayed=st.booleans())
def test_answer_arrives_byte_for_byte(pair, parts, sse, streamed, relayed):
    server, proxy = pair
    kind = {"content-type": "text/event-stream" if sse else "application/octet-stream"}
    target = RELAYED if relayed else CHAT
    body = b"".join(parts)
    server.on(target.decode(), Reply(chunks=parts, headers=kind) if streamed else Reply(body=body, headers=kind))
    with proxy.connect() as connection:
        answer = ask(connection, post(target, chat(stream=sse), (b"x-evalside-cache", b"off")))
    assert (answer.status, answer.body, answer.cut) == (200, body, False)


# -- 4 of the goals: the stream -------------------------------------------------------------------------------------


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


# -- 3: headers, paths, queries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [CHAT, RELAYED])
def test_headers_pass_but_for_those_of_the_connection(pair, target):
    server, proxy = pair
    hop = [(b"Keep-Alive", b"1"), (b"TE", b"trailers"), (b"Proxy-Authorization", b"x"), (b"X-Named", b"gone")]
    server.on(
        target.decode(),
        Reply(
            body=b"{}",
            headers=[
                (b"Set-Cookie", b"a=1"),
                (b"Set-Cookie", b"b=2"),
                (b"X-Odd", "café".encode("latin-1")),
                (b"Connection", b"keep-alive, X-Named"),
                *hop[:1],
                *hop[3:],
            ],
        ),
    )
    given = [
        (b"X-Twice", b"1"),
        (b"X-Twice", b"2"),
        (b"X-Utf8", "é".encode()),
        (b"Connection", b"close, X-Named"),
        *hop,
    ]
    with proxy.connect() as connection:
        answer = ask(connection, post(target, b"{}", *given))
    [request] = server.requests
    assert request.header_values("x-twice") == ["1", "2"]
    assert [value for name, value in request.headers if name.lower() == b"x-utf8"] == ["é".encode()]
    assert answer.values(b"set-cookie") == [b"a=1", b"b=2"]
    assert answer.header(b"x-odd") == "café".encode("latin-1")
    for name in ("keep-alive", "te", "proxy-authorization", "x-named", "connection", "transfer-encoding"):
        assert request.header(name) is None, name
    assert answer.header(b"keep-alive") is None
    assert answer.header(b"x-named") is None


def test_nothing_is_added_to_the_clients_headers(pair):
    server, proxy = pair
    server.on("/v1/models", Reply(json={}, headers={"set-cookie": "session=1"}))
    with proxy.connect() as connection:
        for _ in range(2):
            ask(connection, head(b"GET", b"/v1/models"), b"GET")
    for request in server.requests:
        assert [name.lower() for name, _ in request.headers] == [b"host"]
        assert request.header("host") == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/a%2Fb/c%20d",
        b"/v1//double//slash",
        b"/v1/../up/./here",
        b"/v1/models?a=1&a=2&b=%20+&c=%zz",
        b"/v1/caf%C3%A9?q=%C3%A9&empty=",
        b"/v1/" + b"x" * 30_000,
    ],
)
def test_paths_and_queries_are_untouched(pair, target):
    server, proxy = pair
    with proxy.connect() as connection:
        ask(connection, head(b"GET", target), b"GET")
    assert server.requests[0].target == target


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/completions"])
def test_upstream_url_in_any_form_is_the_same_server(model_server, sidecar, suffix):
    server = model_server()
    proxy = sidecar(server.url + suffix)
    with proxy.connect() as connection:
        assert ask(connection, post(CHAT, chat())).status == 200
        assert ask(connection, post(b"/chat/completions", chat(n=2))).status == 200
        assert ask(connection, head(b"GET", b"/health"), b"GET").status == 200
    assert [request.path for request in server.requests] == [CHAT_PATH, CHAT_PATH, "/health"]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"GET", b"/v1/models", 200),
        (b"GET", b"/health", 200),
        (b"GET", b"/metrics", 200),
        (b"HEAD", b"/metrics", 200),
        (b"HEAD", b"/v1/models", 405),
        (b"OPTIONS", b"/v1/models", None),
        (b"DELETE", b"/v1/files/1", 404),
        (b"GET", b"/v1/chat/completions", None),
    ],
)
def test_any_method_and_path_reaches_the_server(pair, method, target, status):
    server, proxy = pair
    with proxy.connect() as connection:
        answer = ask(connection, head(method, target), method)
    assert (server.requests[0].method.encode(), server.requests[0].target) == (method, target)
    assert status is None or answer.status == status
    assert answer.header(b"x-evalside-id") is not None


def test_missing_tokenizer_info_stays_404(pair):
    server, proxy = pair
    server.on("/tokenizer_info", Reply(404, json={"detail": "Not Found"}))
    with proxy.connect() as connection:
        answer = ask(connection, head(b"GET", b"/tokenizer_info"), b"GET")
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(pair, status):
    server, proxy = pair
    server.on("/v1/anything", Reply(status, headers=[(b"Content-Length", b"7")] if status == 304 else []))
    with proxy.connect() as connection:
        assert ask(connection, head(b"GET", RELAYED), b"GET").status == status
        assert ask(connection, head(b"GET", RELAYED), b"GET").status == status  # the connection goes on


def test_redirects_are_the_clients_business(pair):
    server, proxy = pair
    server.on(CHAT_PATH, Reply(307, headers={"location": "http://127.0.0.1:9/elsewhere"}))
    with proxy.connect() as connection:
        answer = ask(connection, post(CHAT, chat()))
    assert (answer.status, answer.header(b"location")) == (307, b"http://127.0.0.1:9/elsewhere")


# -- 4: errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("stream", [True, False])
def test_upstreams_errors_are_its_own(pair, status, stream):
    server, proxy = pair
    body = b'{"detail": "as the server says it" }'
    server.on(CHAT_PATH, Reply(status, body=body, headers={"retry-after": "7"}))
    with proxy.connect() as connection:
        answer = ask(connection, post(CHAT, chat(stream=stream)))
    assert (answer.status, answer.body, answer.header(b"retry-after")) == (status, body, b"7")
    assert answer.header(b"x-should-retry") is None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_unreachable_upstream(sidecar):
    proxy = sidecar(f"http://127.0.0.1:{free_port()}")
    with proxy.connect() as connection:
        for target in (CHAT, RELAYED):
            answer = ask(connection, post(target, chat()))
            assert (answer.status, answer.code) == (502, "upstream_unreachable")
            assert set(answer.json["error"]) == {"message", "type", "param", "code"}
            assert answer.header(b"x-should-retry") is None  # a retry may help


@pytest.mark.parametrize(
    ("target", "body", "headers", "status", "code"),
    [
        (CHAT, b"{", [], 400, "invalid_json"),
        (CHAT, b"", [], 400, "invalid_json"),
        (CHAT, b"[1]", [], 400, "not_an_object"),
        (CHAT, b"{}", [(b"x-evalside-cache", b"maybe")], 400, "invalid_header"),
        (CHAT, b"{}", [(b"x-evalside-unknown", b"1")], 400, "invalid_header"),
        (CHAT, b"{}", [(b"X-Latin", b"\xe9")], 400, "invalid_header"),
        (RELAYED, b"{}", [(b"X-Latin", b"\xe9")], 400, "invalid_header"),
        (CHAT, b"{}", [(b"x-evalside-run", b"-no")], 400, "invalid_run"),
        (b"/-/runs/-no" + CHAT, b"{}", [], 400, "invalid_run"),
        (b"/-/runs/one" + CHAT, b"{}", [(b"x-evalside-run", b"two")], 400, "invalid_run"),
        (CHAT, b"{}", [(b"Origin", b"https://evil.example")], 403, "foreign_origin"),
        (CHAT, b"{}", [(b"Origin", b"null")], 403, "foreign_origin"),
        (CHAT, b"{}", [(b"Origin", b"http://[")], 403, "foreign_origin"),
        (b"/-/unknown", b"{}", [], 404, "not_found"),
        (b"/-", b"{}", [], 404, "not_found"),
        (b"/-/live", b"{}", [(b"Host", b"evil.example")], 403, "foreign_host"),
        (CHAT, b"x" * 2000, [], 413, "body_too_large"),
    ],
)
def test_requests_that_are_refused(model_server, sidecar, target, body, headers, status, code):  # noqa: PLR0917
    server = model_server()
    proxy = sidecar(server, max_body_bytes=1000)
    with proxy.connect() as connection:
        answer = ask(connection, post(target, body, *headers))
        assert (answer.status, answer.code) == (status, code)
        assert answer.header(b"x-should-retry") == b"false"
        assert server.requests == []
        assert ask(connection, post(CHAT, chat())).status == 200  # the connection goes on


def test_body_beyond_the_limit_is_refused_before_it_is_sent(model_server, sidecar):
    server = model_server()
    proxy = sidecar(server, max_body_bytes=1000)
    announced = [(b"Content-Length", b"1001"), (b"Expect", b"100-continue")]
    with proxy.connect() as connection:
        answer = ask(connection, head(b"POST", CHAT, announced))
        assert (answer.status, answer.header(b"connection")) == (413, b"close")
    with proxy.connect() as connection:
        connection.sendall(head(b"POST", CHAT, [(b"Transfer-Encoding", b"chunked")]) + b"3e9\r\n" + b"x" * 1001)
        assert Reader(connection).answer().status == 413
    assert server.requests == []


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


# -- 5: timeouts ----------------------------------------------------------------------------------------------------


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


# -- 6: encodings ---------------------------------------------------------------------------------------------------


def test_pipeline_routes_ask_for_identity_and_others_pass_the_clients_wish(pair):
    server, proxy = pair
    wish = (b"Accept-Encoding", b"br, gzip")
    with proxy.connect() as connection:
        ask(connection, post(CHAT, chat(), wish))
        ask(connection, post(RELAYED, chat(), wish))
    assert [request.header_values("accept-encoding") for request in server.requests] == [["identity"], ["br, gzip"]]


@pytest.mark.parametrize("stream", [True, False])
def test_compressed_answer_is_relayed_as_it_came_and_stored_decoded(pair, stream):
    server, proxy = pair
    with proxy.connect() as connection:
        plain = ask(connection, post(CHAT, chat(stream=stream, seed=1)))
    body = plain.body
    reply = Reply(chunks=[body], gzip=True) if stream else Reply(body=body, gzip=True)
    server.enqueue(reply)
    with proxy.connect() as connection:
        request = post(CHAT, chat(stream=stream, seed=2))
        first, second = ask(connection, request), ask(connection, request)
    assert first.header(b"content-encoding") == b"gzip"
    assert first.body == (b"".join(reply.pieces()))
    assert (second.header(b"x-evalside-cache"), second.header(b"content-encoding")) == (b"hit", None)
    assert second.body == body


# -- the relay, and lenient JSON ------------------------------------------------------------------------------------


def test_without_interceptors_everything_is_relayed(model_server, sidecar):
    server = model_server()
    proxy = sidecar(server, interceptors=[])
    server.on(CHAT_PATH, Reply(body=b"fine"))
    with proxy.connect() as connection:
        for body in (b"{broken", b"", b"\xff\x00", b"[1]"):
            answer = ask(connection, post(CHAT, body, (b"Accept-Encoding", b"zstd")))
            assert (answer.status, answer.body, server.requests[-1].body) == (200, b"fine", body)
            assert server.requests[-1].header("accept-encoding") == "zstd"
            assert answer.header(b"x-evalside-cache") is None


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b'\xef\xbb\xbf{"a":1}'])
def test_lenient_json_is_forwarded_untouched_or_refused(model_server, sidecar, body):
    server = model_server()
    server.on(CHAT_PATH, Reply(json={}))
    with sidecar(server).connect() as connection:
        answer = ask(connection, post(CHAT, body))
        assert (answer.status, answer.header(b"x-evalside-cache")) == (200, b"bypass")
    assert server.requests[0].body == body
    changing = sidecar(server, interceptors=[{"name": "payload_modifier", "config": {"params_to_add": {"top_k": 1}}}])
    with changing.connect() as connection:
        answer = ask(connection, post(CHAT, body))
    assert (answer.status, answer.code, len(server.requests)) == (400, "not_editable", 1)


# -- 8: connections -------------------------------------------------------------------------------------------------


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


# -- tokens, runs, control headers ----------------------------------------------------------------------------------


def test_token_is_needed_and_never_sent_upstream(model_server, sidecar, monkeypatch):
    monkeypatch.setenv("THE_TOKEN", "s3cret")
    server = model_server()
    proxy = sidecar(server, auth={"token_name": "THE_TOKEN"})
    with proxy.connect() as connection:
        for headers in ([], [(b"Authorization", b"Bearer wrong")], [(b"x-evalside-token", b"")]):
            for target in (CHAT, RELAYED, b"/-/config", b"/-/runs/r" + CHAT):
                answer = ask(connection, post(target, chat(), *headers))
                assert (answer.status, answer.code) == (401, "unauthorized")
                assert answer.header(b"x-should-retry") == b"false"
        assert ask(connection, head(b"GET", b"/-/live"), b"GET").status == 200
        assert server.requests == []
        bearer, own = (b"Authorization", b"Bearer s3cret"), (b"X-Evalside-Token", b"s3cret")
        assert ask(connection, post(CHAT, chat(), bearer)).status == 200
        assert ask(connection, post(RELAYED, chat(), own, (b"Authorization", b"Bearer model-key"))).status == 404
    assert [request.header("authorization") for request in server.requests] == [None, "Bearer model-key"]
    assert all(b"s3cret" not in value for request in server.requests for _, value in request.headers)


@pytest.mark.parametrize("value", [None, b"Bearer", b"Bearer ", b"Bearer sk-real", b"Basic eA=="])
def test_clients_authorization_passes(pair, value):
    server, proxy = pair
    with proxy.connect() as connection:
        assert ask(connection, post(CHAT, chat(), *([(b"Authorization", value)] if value else []))).status == 200
    assert server.requests[0].header("authorization") == (value.decode() if value else None)


def test_servers_key_replaces_the_clients(model_server, sidecar, monkeypatch):
    monkeypatch.setenv("THE_KEY", "sk-server")
    server = model_server(api_key="sk-server")
    proxy = sidecar(server, upstream={"api_key_name": "THE_KEY"})
    with proxy.connect() as connection:
        assert ask(connection, post(CHAT, chat(), (b"Authorization", b"Bearer mine"))).status == 200
    assert server.requests[0].header_values("authorization") == ["Bearer sk-server"]


def test_runs_by_url_and_header(pair):
    server, proxy = pair
    with proxy.connect() as connection:
        by_url = ask(connection, post(b"/-/runs/a.1" + CHAT, chat()))
        by_header = ask(connection, post(CHAT, chat(seed=1), (b"x-evalside-run", b"a.1")))
        both = ask(connection, post(b"/-/runs/a.1/tokenizer_info?x=1", b"", (b"x-evalside-run", b"a.1")))
        assert ask(connection, head(b"GET", b"/-/runs/a.1"), b"GET").status == 200
    assert [answer.header(b"x-evalside-run") for answer in (by_url, by_header, both)] == [b"a.1"] * 3
    assert [request.target for request in server.requests] == [CHAT, CHAT, b"/tokenizer_info?x=1"]
    names = {name.lower() for request in server.requests for name, _ in request.headers}
    assert not {name for name in names if name.startswith(b"x-evalside")}


def test_an_upstream_cannot_speak_for_the_sidecar(pair):
    server, proxy = pair
    server.on("/v1/anything", Reply(body=b"{}", headers={"X-Evalside-Cache": "hit", "X-Evalside-Id": "1"}))
    with proxy.connect() as connection:
        answer = ask(connection, post(RELAYED, b""))
    assert answer.header(b"x-evalside-cache") is None
    assert len(answer.values(b"x-evalside-id")) == 1
    assert answer.header(b"x-evalside-id") != b"1"


def test_prefix_of_a_reverse_proxy_is_not_sent_upstream(model_server, sidecar):
    server = model_server()
    proxy = sidecar(server, root_path="/behind")
    with proxy.connect() as connection:
        assert ask(connection, head(b"GET", b"/health"), b"GET").status == 200
        assert ask(connection, head(b"GET", b"/-/live"), b"GET").status == 200
    assert [request.path for request in server.requests] == ["/health"]


# -- 8 under the command users type ---------------------------------------------------------------------------------


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
