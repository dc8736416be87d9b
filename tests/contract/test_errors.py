"""The model server's errors are its own; the sidecar's have codes, and the connection goes on after them."""

from __future__ import annotations

import socket

import pytest

from proxy.testing import Reply
from tests.contract.raw import CHAT, CHAT_PATH, RELAYED, chat, post
from tests.rawhttp import Reader, ask, head


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
