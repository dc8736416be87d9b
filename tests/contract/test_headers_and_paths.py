"""Any method, path, query and header reaches the model server as it is, and its answers come back so."""

from __future__ import annotations

import pytest

from proxy.testing import Reply
from tests.contract.raw import CHAT, CHAT_PATH, RELAYED, chat, post
from tests.rawhttp import ask, head


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
