"""What takes the place of the sign of the running instance, and which credentials go with it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import pytest

from proxy.testing import Fault, Reply
from tests.unit.upstream.watching import MODEL, SIGN, gated, watching

CLIENT = [
    (b"authorization", b"Bearer sk-client"),
    (b"x-api-key", b"sk-client"),
    (b"api-key", b"sk-client"),
    (b"openai-organization", b"org-1"),
    (b"openai-project", b"proj-1"),
    (b"cookie", b"session=sk-client"),
    (b"content-type", b"application/json"),
    (b"content-length", b"7"),
]


async def test_the_client_s_credentials_are_sent_and_kept_nowhere(model_server, caplog):
    caplog.set_level(logging.DEBUG, "evalside")
    server = model_server(api_key="sk-client")
    async with watching(server.url) as watch:
        identity = await watch.current(CLIENT, MODEL)
        [asked] = server.requests_to("/v1/models")
        assert asked.header("authorization") == "Bearer sk-client"
        assert asked.header("openai-project") == "proj-1"
        assert (asked.header("cookie"), asked.header("content-type")) == (None, None)
        server.on("/version", Reply(503))
        assert not await watch.confirmed(identity, CLIENT, MODEL)
        server.on("/version", None)
        server.options.root = "other"
        assert not await watch.confirmed(identity, CLIENT, MODEL)
    assert "models[mock-model].root" in identity.facts
    assert "sk-client" not in repr(dataclasses.asdict(identity)) + repr(identity) + repr(watch) + caplog.text


async def test_a_configured_key_takes_the_place_of_the_client_s(model_server):
    server = model_server(api_key="sk-configured")
    async with watching(server.url, api_key="sk-configured") as watch:
        assert await watch.current([(b"authorization", b"Bearer sk-client")], MODEL) is not None
    [asked] = server.requests_to("/v1/models")
    assert asked.header_values("authorization") == ["Bearer sk-configured"]


async def test_a_canary_takes_the_place_of_the_sign_of_the_instance(model_server, caplog):
    server = model_server(answer="four")
    async with watching(server.url, canary="2+2?") as watch:
        first = await watch.current([], MODEL)
        assert await watch.confirmed(first, [], MODEL)
        [asked] = server.generation_requests
        assert asked.path == "/v1/chat/completions"
        assert asked.json == {
            "model": MODEL,
            "messages": [{"role": "user", "content": "2+2?"}],
            "temperature": 0,
            "max_tokens": 32,
        }
        assert SIGN not in first.facts
        assert len(first.facts["canary"]) == 64
        server.stop()
        server.start()
        watch.doubt()
        assert await watch.current([], MODEL) == first
        assert len(server.generation_requests) == 2
        server.stop()
        server.options.answer = "five"
        server.start()
        watch.doubt()
        assert (await watch.current([], MODEL)).name != first.name
    [record] = caplog.records
    assert "the model changed (canary" in record.getMessage()


async def test_an_identity_that_was_overtaken_while_the_canary_was_asked_is_not_used():
    async with gated() as (server, url), watching(url, canary="2+2?") as watch:
        slow = asyncio.create_task(watch.current([], "m"))
        await server.chat_arrived.wait()
        server.bodies["/version"] = b'{"version":"2"}'
        watch.doubt()
        overtaking = asyncio.create_task(watch.current([], "m"))
        while server.probes() < 2:
            server.arrived.clear()
            await server.arrived.wait()
        server.chat_gate.set()
        first, second = await asyncio.gather(slow, overtaking)
        assert first is None
        assert second.facts["version.version"] == "2"
        assert await watch.current([], "m") == second


async def test_a_canary_is_asked_once_for_each_model_and_instance(model_server):
    server = model_server()
    async with watching(server.url, canary="Hi") as watch:
        await asyncio.gather(*(watch.current([], model) for model in [MODEL, "other"] * 10))
        assert sorted(request.json["model"] for request in server.generation_requests) == [MODEL, "other"]
        assert await watch.current([], None) is not None
        assert "model" not in server.generation_requests[-1].json


@pytest.mark.parametrize("status", [404, 405])
async def test_a_server_without_chat_is_asked_for_a_completion(model_server, status):
    server = model_server(answer="four")
    server.on("/v1/chat/completions", Reply(status, json={}))
    async with watching(server.url, canary="2+2?") as watch:
        identity = await watch.current([], MODEL)
    assert "canary" in identity.facts
    assert server.generation_requests[-1].path == "/v1/completions"
    assert server.generation_requests[-1].json == {
        "model": MODEL,
        "prompt": "2+2?",
        "temperature": 0,
        "max_tokens": 32,
    }


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(400, json={"error": {}}), "/v1/chat/completions answered 400"),
        (Reply(404, json={"error": {}}), "/v1/completions answered 404"),
        (Reply(json={"choices": []}), "answered 200 without text"),
        (Reply(fault=Fault.CLOSE_BEFORE_ANSWER), "closed the connection"),
    ],
)
async def test_a_canary_that_cannot_be_asked_leaves_the_identity_unknown(model_server, caplog, reply, reason):
    server = model_server()
    server.on("/v1/chat/completions", reply)
    server.on("/v1/completions", reply)
    async with watching(server.url, canary="Hi") as watch:
        assert await watch.current([], MODEL) is None
        assert await watch.current([], MODEL) is None
        [record] = caplog.records
        assert "upstream.canary could not be asked" in record.getMessage()
        assert reason in record.getMessage()
        server.on("/v1/chat/completions", None)
        watch.doubt()
        assert await watch.current([], MODEL) is not None
