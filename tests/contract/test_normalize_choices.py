"""`n` of a server that has none, through the whole sidecar: one request for each choice, and one answer of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.testing import ASGIExchange, Fault, ModelServer, Reply
from proxy.wire.sse import split
from tests.contract.gated import Gated, event_of, gated
from tests.contract.normalizing import TRANSFORMERS, normalize, replayed, strict_server
from tests.contract.sidecar import CHAT, chat, sidecar


@asynccontextmanager
async def two_choices(folder: Path) -> AsyncIterator[tuple[Gated, ASGIExchange]]:
    """A stream of two choices that has been asked for, and the model server with its two requests."""
    async with (
        gated() as upstream,
        sidecar(folder, upstream, TRANSFORMERS) as proxy,
        proxy.exchange(CHAT, chat(n=2, seed=1, stream=True), {}) as exchange,
    ):
        yield upstream, exchange


@pytest.fixture
def strict():
    with strict_server() as running:
        yield running


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def said(stream: bytes) -> dict[int, str]:
    """The text of each choice of a stream."""
    texts: dict[int, str] = {}
    for event in split(stream).events:
        if event.data != b"[DONE]":
            for choice in json.loads(event.data)["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + choice["delta"].get("content", "")
    return texts


def usages(stream: bytes) -> list[Any]:
    documents = [json.loads(event.data) for event in split(stream).events if event.data != b"[DONE]"]
    return [document["usage"] for document in documents if document.get("usage")]


class TestChoices:
    """Of a server that gives one at a time."""

    async def test_each_is_a_request_with_a_seed_of_its_own(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            answered = await proxy.ask(chat(n=3, seed=7, max_tokens=4))
            await replayed(proxy)
            row = (await proxy.rows())[0]
        sent = [request.json for request in strict.generation_requests]
        assert sorted(document["seed"] for document in sent) == [7, 8, 9]
        assert all("n" not in document for document in sent)
        choices = answered.json["choices"]
        assert [choice["index"] for choice in choices] == [0, 1, 2]
        usage = answered.json["usage"]
        assert (usage["completion_tokens"], usage["total_tokens"]) == (12, usage["prompt_tokens"] + 12)
        seeds = [(change["from"], change["to"]) for change in row["changes"] if change["field"] == "seed"]
        assert seeds == [(7, 8), (7, 9)]
        [n] = [change for change in row["changes"] if change["field"] == "n"]
        assert (n["from"], n["times"]) == (3, 3)

    async def test_each_gets_its_own_text_and_all_of_it(self, tmp_path, strict) -> None:
        strict.options.answer = lambda body, choice, call: f"seed {body['seed']} said so."
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            plain = await proxy.ask(chat(n=3, seed=1))
            stream = await proxy.ask(chat(n=3, seed=1, stream=True, stream_options={"include_usage": True}))
        expected = {place: f"seed {place + 1} said so." for place in range(3)}
        assert {choice["index"]: choice["message"]["content"] for choice in plain.json["choices"]} == expected
        assert said(stream.body) == expected
        assert stream.body.count(b"[DONE]") == 1
        assert len({json.loads(event.data)["id"] for event in split(stream.body).events[:-1]}) == 1

    async def test_usage_of_a_stream_counts_the_prompt_once(self, tmp_path, server) -> None:
        dialect = tmp_path / "one.toml"
        dialect.write_text('name = "one"\n[chat]\nfan_out = true\n')
        async with sidecar(tmp_path, server, normalize(dialect=str(dialect))) as proxy:
            body = chat(n=3, max_tokens=4, seed=1)
            plain = await proxy.ask(body)
            stream = await proxy.ask({**body, "stream": True, "stream_options": {"include_usage": True}})
        [usage] = usages(stream.body)
        assert usage == plain.json["usage"]
        assert usage["completion_tokens"] == 12
        assert stream.body.endswith(b"data: [DONE]\n\n")

    async def test_samples_are_taken_choice_by_choice_and_replayed(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            body = chat(n=2, temperature=1)
            first = [(await proxy.ask(body, x_evalside_run="r")).json for _ in range(2)]
            calls = proxy.calls
            async with proxy.exchange("/-/runs/r", b"", {}, "POST") as exchange:
                assert (await exchange.start()).status == 200
                await exchange.read()
            second = [(await proxy.ask(body, x_evalside_run="r")).json for _ in range(2)]
        texts = [[choice["message"]["content"] for choice in answer["choices"]] for answer in first]
        assert len({*texts[0], *texts[1]}) == 4
        assert second == first
        assert (calls, proxy.calls) == (4, 4)

    async def test_streams_that_are_put_together_have_every_choice(self, tmp_path, strict) -> None:
        finish = {"name": "finish_reason", "config": {}}
        async with sidecar(tmp_path, strict, normalize("streaming", finish)) as proxy:
            answered = await proxy.ask(chat(n=2, seed=1, max_tokens=4))
        assert all(request.json["stream"] for request in strict.generation_requests)
        assert [choice["index"] for choice in answered.json["choices"]] == [0, 1]
        assert [choice["finish_reason"] for choice in answered.json["choices"]] == ["length"] * 2

    async def test_a_sample_may_be_named_for_all_choices(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            asked = [
                await proxy.ask(chat(n=2, temperature=1), x_evalside_run="r", x_evalside_sample=sample)
                for sample in ("3", "3", "4")
            ]
        assert [answer.cache for answer in asked] == ["miss", "hit", "miss"]
        assert asked[0].json["choices"] == asked[1].json["choices"]
        assert proxy.calls == 4

    async def test_one_refusal_refuses_the_whole(self, tmp_path, strict) -> None:
        refusal = Reply(status=503, headers={"retry-after": "3"}, json={"detail": "busy"})
        strict.on(CHAT, lambda request: refusal if request.json.get("seed") == 2 else None)
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            answered = await proxy.ask(chat(n=3, seed=1))
        assert (answered.status, answered.header("retry-after")) == (503, "3")
        assert answered.json["error"]["message"] == "busy"

    async def test_one_error_of_ours_is_the_answer(self, tmp_path, strict) -> None:
        strict.on(CHAT, lambda request: Reply(fault=Fault.CLOSE_BEFORE_ANSWER) if request.json["seed"] == 2 else None)
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            answered = await proxy.ask(chat(n=2, seed=1))
        assert answered.json["error"]["code"] == "upstream_incomplete"

    async def test_what_fails_behind_the_first_byte_breaks_the_stream(self, tmp_path) -> None:
        async with two_choices(tmp_path) as (upstream, exchange):
            calls = {call.json["seed"]: call for call in [await upstream.call(), await upstream.call()]}
            await calls[1].begin(event_of("x"))
            assert (await exchange.start()).status == 200
            await calls[2].answer("busy", status=503)
            last = split(await exchange.read()).events[-1]
        assert json.loads(last.data)["error"]["code"] == "upstream_incomplete"
        assert "choice 1 was answered with status 503 and no stream" in json.loads(last.data)["error"]["message"]

    async def test_a_stream_that_breaks_breaks_the_whole(self, tmp_path) -> None:
        async with two_choices(tmp_path) as (upstream, exchange):
            first, second = await upstream.call(), await upstream.call()
            await first.begin(event_of("x"))
            await second.begin()
            assert (await exchange.start()).status == 200
            await second.cut()
            last = split(await exchange.read()).events[-1]
        assert json.loads(last.data)["error"]["code"] == "upstream_incomplete"

    async def test_events_pass_as_they_come(self, tmp_path) -> None:
        async with two_choices(tmp_path) as (upstream, exchange):
            calls = {call.json["seed"]: call for call in [await upstream.call(), await upstream.call()]}
            await calls[2].begin(event_of("second"))
            await exchange.start()
            chunks = exchange.chunks()
            assert said(await anext(chunks)) == {1: "second"}
            await calls[1].begin(event_of("first"))
            assert said(await anext(chunks)) == {0: "first"}
            await calls[1].finish()
            await calls[2].finish()
            rest = b"".join([chunk async for chunk in chunks])
        assert rest.endswith(b"data: [DONE]\n\n")
        assert rest.count(b"[DONE]") == 1

    async def test_a_client_that_leaves_ends_all_of_them(self, tmp_path) -> None:
        async with two_choices(tmp_path) as (upstream, exchange):
            calls = [await upstream.call(), await upstream.call()]
            await calls[0].begin(event_of("x"))
            await exchange.start()
            exchange.disconnect()
            for call in calls:
                assert await asyncio.wait_for(call.gone.wait(), 10)

    async def test_no_stream_waits_for_another_whatever_the_limit(self, tmp_path, strict) -> None:
        limit = {"name": "limit", "config": {"max_concurrent": 1}}
        async with sidecar(tmp_path, strict, normalize(limit)) as proxy:
            answered = await proxy.ask(chat(n=3, seed=1, stream=True))
        assert set(said(answered.body)) == {0, 1, 2}
        assert answered.body.endswith(b"data: [DONE]\n\n")
