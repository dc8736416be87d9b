"""When it is found out which model server answers, and what becomes of answers where that changes."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from proxy.testing import ModelServer, Reply
from tests.contract.gated import answer_of
from tests.contract.sidecar import CHAT, Sidecar, chat, sidecar


@pytest.fixture
def server():
    with ModelServer(root="org/first") as running:
        yield running


@pytest.fixture
async def proxy(tmp_path, server):
    async with sidecar(tmp_path, server, ["request_logging", "caching"]) as running:
        yield running


async def findings(proxy: Sidecar, run: str) -> dict[str, Any]:
    found = (await proxy.get(f"/-/runs/{run}")).json["findings"]
    return {item["finding"]: item for item in found}


async def known(proxy: Sidecar) -> None:
    """Have an answer that is confirmed and stored."""
    assert [(await proxy.ask()).cache for _ in range(2)] == ["miss", "hit"]


async def test_nothing_is_served_before_the_server_was_asked_who_it_is(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, ["caching"]) as proxy:
        await known(proxy)
    server.clear()
    async with sidecar(tmp_path, server, ["caching"]) as proxy:
        assert server.requests_total == 0
        assert (await proxy.ask()).cache == "hit"
        assert [request.path for request in server.requests_to("/version")] == ["/version"]


@pytest.mark.parametrize("begin", ["a run", "a pass"])
async def test_it_is_asked_again_at_the_start_of_a_run_and_of_a_pass(proxy: Sidecar, begin: str) -> None:
    """Also where it was asked a moment ago, and no connection ended since."""
    await known(proxy)
    assert (await proxy.ask(x_evalside_run="r")).cache == "hit"
    proxy.server.options.root = "org/second"
    if begin == "a pass":
        await proxy.ask(b"", "/-/runs/r")
    assert (await proxy.ask(x_evalside_run="r" if begin == "a pass" else "new")).cache == "miss"


async def test_an_answer_is_stored_only_if_the_server_was_the_same_before_and_after_it(proxy: Sidecar) -> None:
    server = proxy.server

    def exchanged(request: Any) -> Reply:
        server.options.root = f"org/{len(server.generation_requests)}"
        return Reply(json=answer_of("hi"))

    server.on(CHAT, exchanged)
    sampled = chat(temperature=0.7)
    for body in (chat(), sampled):
        told = [await proxy.ask(body, x_evalside_run="r") for _ in range(3)]
        assert {answer.cache for answer in told} == {"miss"}
    await asyncio.gather(*(proxy.ask(chat(seed=number), x_evalside_run="r") for number in range(3)))
    found = await findings(proxy, "r")
    while found.get("answers_unconfirmed", {"count": 0})["count"] < 9:
        found = await findings(proxy, "r")
    assert (
        "9 answers were not kept, because another model server may have given them."
        in (found["answers_unconfirmed"]["text"])
    )


async def test_a_run_that_saw_two_servers_is_marked_mixed(proxy: Sidecar) -> None:
    server = proxy.server
    await proxy.ask(x_evalside_run="r")
    assert (await proxy.get("/-/runs/r")).json["mixed"] is False
    server.options.root = "org/second"
    server.stop()
    server.start()
    assert (await proxy.ask(x_evalside_run="r")).cache == "miss"
    run = (await proxy.get("/-/runs/r")).json
    assert run["mixed"] is True
    mixed = (await findings(proxy, "r"))["mixed_identity"]
    assert Counter(mixed["differs"]["models[mock-model].root"]) == {"org/first": 1, "org/second": 1}


async def test_a_change_that_several_clients_see_is_logged_once(proxy: Sidecar, caplog) -> None:
    server = proxy.server
    for root in ("org/first", "org/second"):
        server.options.root = root
        server.stop()
        server.start()
        for key in "abc":
            await proxy.ask(authorization=f"Bearer {key}")
    assert caplog.text.count("the model changed (") == 1


async def test_a_connection_that_fails_is_reason_enough_to_ask_again(proxy: Sidecar) -> None:
    await known(proxy)
    server = proxy.server
    server.stop()  # the idle connection ends with it
    server.options.root = "org/second"
    server.start()
    assert (await proxy.ask()).cache == "miss"


async def test_clients_keys_are_no_reason_to_ask_where_the_sidecar_sends_its_own(tmp_path, server, monkeypatch) -> None:
    monkeypatch.setenv("KEY", "sk-of-the-sidecar")
    async with sidecar(tmp_path, server, ["caching"], upstream={"api_key_name": "KEY"}) as proxy:
        told = [(await proxy.ask(authorization=f"Bearer {key}")).cache for key in "abc"]
        assert told == ["miss", "hit", "hit"]
        assert len(server.requests_to("/props")) == 1  # a first look at a server asks all routes


async def test_with_a_namespace_the_user_gets_what_was_asked_for(tmp_path, server) -> None:
    named: dict[str, Any] = {"upstream": {"namespace": "mine"}}
    async with sidecar(tmp_path, server, ["caching"], **named) as proxy:
        await known(proxy)
        server.stop()
        server.options.root = "org/second"
        server.start()
        assert (await proxy.ask()).cache == "hit"
        assert server.requests_to("/v1/models") == []
