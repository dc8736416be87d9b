from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import pytest

from proxy.testing import Reply
from proxy.upstream import watches as watches_module
from proxy.upstream.address import parse_address
from proxy.upstream.transport import AiohttpTransport
from proxy.upstream.watches import Watches
from tests.unit.upstream.watching import MODEL, Clock, Watch, gated, settled


@contextlib.asynccontextmanager
async def watching(url, ignored=lambda name: False, **options):
    """Watches of which the transport speaks."""
    async with AiohttpTransport() as transport:
        made = Watches(partial(Watch, transport, parse_address(url), **options), ignored=ignored)
        transport.on_doubt, transport.on_lapse = made.doubt, made.lapse
        try:
            yield made
        finally:
            await made.aclose()


def key(name: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + name.encode()), (b"accept", b"*/*")]


def gateway(server) -> None:
    """Make of a model server a gateway that leads each key to a server of its own, but two to the same."""

    def version(request) -> Reply:
        return Reply(json={"version": {"Bearer b": "2"}.get(request.header("authorization"), "1")})

    server.on("/version", version)


async def test_each_key_has_the_server_that_it_leads_to(model_server):
    server = model_server()
    gateway(server)
    async with watching(server.url) as watches:
        found = {name: await watches.current(key(name), MODEL) for name in "abc"}
        assert found["a"] == found["c"] == await watches.current([], MODEL)
        assert found["b"].name != found["a"].name
        for name, identity in found.items():  # whoever else was asked for meanwhile
            assert await watches.current(key(name), MODEL) == identity
            assert await watches.confirmed(identity, key(name), MODEL)
        assert not await watches.confirmed(found["a"], key("b"), MODEL)


async def test_whoever_hurries_hurries_all_watches():
    async with gated() as (_, url), watching(url, clock=Clock()) as watches:
        before = {name: await watches.current(key(name), "m") for name in "ab"}
        for watch in watches._all():
            watch._gap = 1e6
        confirmations = [asyncio.create_task(watches.confirmed(before[name], key(name), "m")) for name in "ab"]
        await settled()
        watches.hurry()
        assert await asyncio.gather(*confirmations) == [True, True]


async def test_a_key_that_is_known_costs_nothing(model_server):
    server = model_server()
    async with watching(server.url, clock=Clock()) as watches:
        for name in "ab":
            await watches.current(key(name), MODEL)
        server.clear()
        for name in "abab":
            await watches.current([*key(name), (b"x-other", b"1")], MODEL)
        assert server.requests_total == 0


@pytest.mark.parametrize("ignored", [lambda name: True, lambda name: name == b"authorization"], ids=["all", "one"])
async def test_what_makes_no_difference_is_no_reason_to_ask(model_server, ignored):
    server = model_server()
    async with watching(server.url, ignored, clock=Clock()) as watches:
        await watches.current([], MODEL)
        server.clear()
        for name in "ab":
            await watches.current(key(name), MODEL)
        assert server.requests_total == 0


async def test_every_watch_hears_of_doubts_and_lapses(model_server):
    server = model_server()
    async with watching(server.url, clock=Clock()) as watches:
        identity = await watches.current(key("a"), MODEL)
        server.stop()
        server.options.root = "org/other"
        server.start()
        watches.doubt()
        assert (await watches.current(key("a"), MODEL)).name != identity.name
        server.clear()
        watches.lapse()
        for headers in ([], key("a")):
            await watches.current(headers, MODEL)
        assert len(server.requests_to("/v1/models")) == 2


async def test_the_key_that_was_used_longest_ago_makes_room(model_server, monkeypatch):
    monkeypatch.setattr(watches_module, "MOST", 2)
    server = model_server()
    async with watching(server.url, clock=Clock()) as watches:
        for name in "abac":  # b is the oldest
            await watches.current(key(name), MODEL)
        server.clear()
        for name in "ac":
            await watches.current(key(name), MODEL)
        assert server.requests_total == 0
        await watches.current(key("b"), MODEL)
        assert len(server.requests_to("/v1/models")) == 1
        await settled()
        assert not watches._closing


async def test_an_answer_whose_watch_made_room_is_not_confirmed(monkeypatch):
    monkeypatch.setattr(watches_module, "MOST", 1)
    async with gated() as (server, url), watching(url) as watches:
        before = await watches.current(key("a"), "m")
        server.gate.clear()
        server.arrived.clear()
        confirming = asyncio.create_task(watches.confirmed(before, key("a"), "m"))
        await server.arrived.wait()
        other = asyncio.create_task(watches.current(key("b"), "m"))
        assert not await confirming
        server.gate.set()
        assert await other == before


async def test_what_is_the_same_for_all(model_server):
    server = model_server()
    async with watching(server.url, canary="Hi") as watches:
        assert watches.generates
        assert watches.knows(f"{server.url}/v1")
        assert not watches.knows("n")


async def test_no_key_is_kept(model_server):
    server = model_server()
    async with watching(server.url) as watches:
        await watches.current(key("sk-client"), MODEL)
        assert b"sk-client" not in b"".join(watches._others)


async def test_each_key_is_told_of_its_own_server(model_server):
    server = model_server()
    gateway(server)
    async with watching(server.url, namespace="mine") as watches:
        told = {name: await watches.server(key(name)) for name in "ab"}
    assert [told[name].shared["version.version"] for name in "ab"] == ["1", "2"]
