"""Tokens, keys and runs: who may ask, as whom the sidecar asks, and which run it is for."""

from __future__ import annotations

import pytest

from tests.contract.raw import CHAT, RELAYED, chat, post
from tests.rawhttp import ask, head


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
