"""normalize through the whole sidecar, in front of servers that behave like real ones."""

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
from tests.contract.sidecar import CHAT, Sidecar, chat, sidecar

COMPLETIONS = "/v1/completions"
TAKEN = ("model", "messages", "prompt", "stream", "max_tokens", "temperature", "top_p", "seed", "stop", "suffix")
"""By `transformers serve`."""


def normalize(*others: Any, **options: Any) -> list[Any]:
    return ["request_logging", {"name": "normalize", "config": options}, "caching", *others]


TRANSFORMERS = normalize(dialect="transformers")


@asynccontextmanager
async def two_choices(folder: Path) -> AsyncIterator[tuple[Gated, ASGIExchange]]:
    """A stream of two choices that has been asked for, and the model server with its two requests."""
    async with (
        gated() as upstream,
        sidecar(folder, upstream, TRANSFORMERS) as proxy,  # type: ignore[arg-type]
        proxy.exchange(CHAT, chat(n=2, seed=1, stream=True), {}) as exchange,
    ):
        yield upstream, exchange


def refusing(*taken: str) -> Any:
    """A rule of a server that refuses every other field, in the words of transformers serve."""

    def rule(request: Any) -> Reply | None:
        unexpected = sorted(set(request.json) - set(taken))
        listed = ", ".join(f"'{name}'" for name in unexpected)
        refusal = Reply(status=422, json={"detail": f"Unexpected fields in the request: {{{listed}}}"})
        return refusal if unexpected else None

    return rule


@pytest.fixture
def strict():
    """A server that behaves as `transformers serve` does, and tells as little of itself."""
    with ModelServer("lab/model", error_key="detail", send_done=False) as running:
        cards = [{"id": "lab/model", "object": "model", "created": 1, "owned_by": "lab"}]
        running.on("/v1/models", Reply(json={"object": "list", "data": cards}))
        for path in ("/version", "/metrics"):
            running.on(path, Reply(status=404, json={"detail": "Not Found"}))
        running.on(CHAT, refusing(*TAKEN))
        running.on(COMPLETIONS, refusing(*TAKEN))
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


async def replayed(proxy: Sidecar) -> None:
    """What was received, with the ledger's entries made to it, is what was sent: for each logged exchange."""
    for row in await proxy.rows():
        received, sent = json.loads(row["request_body"]), row["sent_body"]
        for change in row["changes"]:
            if change["on"] == "request" and change["interceptor"] == "normalize":
                if "to" not in change:
                    received.pop(change["field"], None)
                elif change["field"] != "seed":
                    received[change["field"]] = change["to"]
        assert received == (json.loads(sent) if sent is not None else json.loads(row["request_body"]))


class TestAStrictServer:
    """It answers 422 with `detail` to what it does not know, ignores `n`, and sends no `[DONE]`."""

    async def test_it_is_recognized_and_gets_what_it_takes(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            answered = await proxy.ask(chat(max_completion_tokens=3, user="u", logprobs=False, n=1, seed=None))
            await replayed(proxy)
        assert answered.status == 200
        assert strict.generation_requests[-1].json == {
            "model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 3
            , "seed": None
        }  # fmt: skip
        assert answered.header("x-evalside-changes") == "max_completion_tokens, user, logprobs, n, max_tokens"

    async def test_what_it_lacks_is_an_error_before_it_is_asked(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            answered = await proxy.ask(chat(top_k=5, logprobs=True))
        assert answered.status == 400
        assert answered.header("x-should-retry") == "false"
        error = answered.json["error"]
        assert error["code"] == "unsupported_parameter"
        assert "(transformers) does not take 'top_k', 'logprobs'" in error["message"]
        assert "on_unsupported: drop" in error["message"]
        assert strict.generation_requests == []

    async def test_it_is_left_out_where_that_is_said(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize(on_unsupported="drop")) as proxy:
            answered = await proxy.ask(chat(top_k=5))
            [row] = await proxy.rows()
            counted = (await proxy.get("/-/runs/default")).json["changes"]
        assert answered.status == 200
        [change] = row["changes"]
        assert change == {
            "interceptor": "normalize", "on": "request", "field": "top_k", "from": 5,
            "why": "transformers does not take it", "times": 1,
        }  # fmt: skip
        [kind] = counted
        assert (kind["field"], kind["requests"]) == ("top_k", 1)

    async def test_strict_forbids_even_that(self, tmp_path, strict) -> None:
        options = normalize(on_unsupported="drop", strict=True)
        async with sidecar(tmp_path, strict, options) as proxy:
            refused = await proxy.ask(chat(top_k=5))
            fanned = await proxy.ask(chat(n=2))
            passed = await proxy.ask(chat())
        assert (refused.json["error"]["code"], fanned.json["error"]["code"]) == ("change_refused",) * 2
        assert passed.status == 200

    async def test_a_stream_ends_with_done(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            answered = await proxy.ask(chat(stream=True))
            again = await proxy.ask(chat(stream=True))
            row = (await proxy.rows())[0]
        assert answered.body.endswith(b"\n\ndata: [DONE]\n\n")
        assert answered.body.count(b"[DONE]") == 1
        assert [(change["on"], change["field"], change["to"]) for change in row["changes"]] == [
            ("answer", "event", "[DONE]")
        ]
        assert (again.cache, again.body) == ("hit", answered.body)  # the cache knows that none is missing

    async def test_a_cut_stream_does_not(self, tmp_path, strict) -> None:
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        cut = [{**chunk, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}]
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            await proxy.ask(chat(stream=True))
            strict.enqueue(Reply(chunks=[b"data: " + json.dumps(item).encode() + b"\n\n" for item in cut]))
            answered = await proxy.ask(chat(stream=True, seed=5))
            again = await proxy.ask(chat(stream=True, seed=5))
        assert b"[DONE]" not in answered.body
        assert again.cache == "miss"

    async def test_its_errors_get_the_shape_that_clients_read(self, tmp_path, strict) -> None:
        strict.options.strict_model = True
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            answered = await proxy.ask(chat(model="other"))
            [row] = await proxy.rows()
        assert answered.status == 404
        assert answered.json == {
            "error": {
                "message": "The model `other` does not exist.", "type": "not_found_error", "param": None, "code": None,
            }
        }  # fmt: skip
        assert {change["field"] for change in row["changes"]} == {"detail", "error"}

    async def test_what_it_takes_passes_byte_for_byte(self, tmp_path, strict) -> None:
        raw = b'{ "model":"m","messages": [{"role":"user","content":"x"}],"temperature":0.00 }'
        async with sidecar(tmp_path, strict, normalize(on_unsupported="learn")) as proxy:
            answered = await proxy.ask(raw)
        assert strict.generation_requests[-1].body == raw
        assert answered.header("x-evalside-changes") is None


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
                await asyncio.wait_for(call.gone.wait(), 10)

    async def test_no_stream_waits_for_another_whatever_the_limit(self, tmp_path, strict) -> None:
        limit = {"name": "limit", "config": {"max_concurrent": 1}}
        async with sidecar(tmp_path, strict, normalize(limit)) as proxy:
            answered = await proxy.ask(chat(n=3, seed=1, stream=True))
        assert set(said(answered.body)) == {0, 1, 2}
        assert answered.body.endswith(b"data: [DONE]\n\n")


ASK = {"model": "m", "prompt": "x", "logprobs": 1, "max_tokens": 2, "temperature": 0}


class TestLlamaCpp:
    """Its completions have log probabilities in a chat's shape, and no echo."""

    @pytest.fixture
    def llama(self, server):
        listed = [
            {"token": "é", "logprob": -0.5, "bytes": [1], "top_logprobs": [{"token": "é", "logprob": -0.5}]},
            {"token": "\u2028b", "logprob": -1.5, "top_logprobs": []},
        ]
        choice = {"index": 0, "text": "é\u2028b", "logprobs": {"content": listed}, "finish_reason": "length"}
        answer = {"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

        def rule(request: Any) -> Reply:
            if not request.json.get("stream"):
                return Reply(json={**answer, "usage": usage})
            pieces = [
                {**choice, "text": entry["token"], "logprobs": {"content": [entry]}, "finish_reason": None}
                for entry in listed
            ]
            end = {"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}
            raw = (
                "".join(
                    f"data: {json.dumps({**answer, 'choices': [piece]}, ensure_ascii=False)}\r\n\r\n"
                    for piece in [*pieces, end]
                ).encode()
                + b": a comment\r\n\r\ndata: [DONE]\r\n\r\n"
            )
            return Reply(chunks=[raw[at : at + 7] for at in range(0, len(raw), 7)])

        server.on(COMPLETIONS, rule)
        server.on("/props", Reply(json={"build_info": "b1", "default_generation_settings": {"n_ctx": 2048}}))
        return server

    async def test_they_get_the_legacy_shape(self, tmp_path, llama) -> None:
        async with sidecar(tmp_path, llama, normalize()) as proxy:
            answered = await proxy.ask(ASK, COMPLETIONS)
        assert answered.json["choices"][0]["logprobs"] == {
            "tokens": ["é", "\u2028b"], "token_logprobs": [-0.5, -1.5], "top_logprobs": [{"é": -0.5}, {}],
            "text_offset": [0, 1],
        }  # fmt: skip

    async def test_event_by_event_too(self, tmp_path, llama) -> None:
        async with sidecar(tmp_path, llama, normalize()) as proxy:
            answered = await proxy.ask({**ASK, "stream": True}, COMPLETIONS)
            [row] = await proxy.rows()
        found = [json.loads(event.data)["choices"][0] for event in split(answered.body).events[:-1]]
        assert [choice["logprobs"] and choice["logprobs"]["text_offset"] for choice in found] == [[0], [1], None]
        assert answered.body.endswith(b": a comment\r\n\r\ndata: [DONE]\r\n\r\n")
        assert {change["why"] for change in row["changes"]} == {"llama.cpp gives them the shape of a chat's"}

    async def test_echo_is_refused_instead_of_ignored(self, tmp_path, llama) -> None:
        async with sidecar(tmp_path, llama, normalize()) as proxy:
            refused = await proxy.ask({**ASK, "echo": True}, COMPLETIONS)
            taken = await proxy.ask({**ASK, "echo": False}, COMPLETIONS)
        assert "'echo'" in refused.json["error"]["message"]
        assert taken.status == 200

    async def test_the_limit_is_clamped_to_its_context(self, tmp_path, llama) -> None:
        async with sidecar(tmp_path, llama, normalize()) as proxy:
            await proxy.ask({**ASK, "max_tokens": 100_000}, COMPLETIONS)
            [row] = await proxy.rows()
        assert llama.generation_requests[-1].json["max_tokens"] == 2048
        assert row["changes"][0]["why"] == "at most 2048 on llama.cpp"


class TestRecognition:
    async def test_a_server_that_nothing_is_known_of_gets_everything(self, tmp_path, server) -> None:
        for path in ("/v1/models", "/version", "/metrics"):
            server.on(path, Reply(status=404, json={}))
        async with sidecar(tmp_path, server, normalize()) as proxy:
            await proxy.ask(chat(top_k=3, max_new_tokens=9))
        assert proxy.last == chat(top_k=3, max_new_tokens=9)

    async def test_a_server_that_only_lists_models_may_be_any(self, tmp_path, server) -> None:
        server.on("/v1/models", Reply(json={"data": [{"id": "m", "owned_by": "somebody"}]}))
        async with sidecar(tmp_path, server, normalize()) as proxy:
            await proxy.ask(chat(top_k=3, max_tokens=9))
        assert proxy.last == chat(top_k=3, max_tokens=9)

    async def test_it_is_recognized_under_a_namespace_too(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize(), upstream={"namespace": "mine"}) as proxy:
            answered = await proxy.ask(chat(top_k=3))
        assert "(transformers)" in answered.json["error"]["message"]

    async def test_one_that_cannot_be_asked_now_is_503(self, tmp_path, server) -> None:
        server.on("/v1/models", Reply(status=503, json={}))
        async with sidecar(tmp_path, server, normalize()) as proxy:
            answered = await proxy.ask(chat())
        assert (answered.status, answered.json["error"]["code"]) == (503, "server_unknown")
        assert answered.header("x-should-retry") is None

    async def test_a_run_that_begins_finds_the_server_that_is_there_now(self, tmp_path, server) -> None:
        async with sidecar(tmp_path, server, normalize()) as proxy:
            await proxy.ask(chat(max_new_tokens=3))  # who was there is known for some seconds
            server.on("/info", Reply(json={"model_id": "m", "version": "3"}))
            for path in ("/v1/models", "/version"):
                server.on(path, Reply(status=404, json={}))
            await proxy.ask(chat(max_new_tokens=3), x_evalside_run="new")
        assert [request.json for request in server.generation_requests] == [
            chat(max_completion_tokens=3), chat(max_tokens=3)
        ]  # fmt: skip

    async def test_a_crowd_that_begins_a_run_is_let_in(self, tmp_path, strict) -> None:
        async with sidecar(tmp_path, strict, normalize()) as proxy:
            asked = [proxy.ask(chat(max_completion_tokens=3, seed=seed), x_evalside_run="r") for seed in range(20)]
            answers = await asyncio.gather(*asked)
        assert {answer.status for answer in answers} == {200}

    async def test_a_named_dialect_asks_it_all_the_same(self, tmp_path, server) -> None:
        server.on("/v1/models", Reply(status=503, json={}))
        async with sidecar(tmp_path, server, normalize(dialect="vllm")) as proxy:
            answered = await proxy.ask(chat(max_new_tokens=3))
        assert answered.status == 200
        assert proxy.last == chat(max_completion_tokens=3)


class TestAnswers:
    async def test_reasoning_gets_the_name_that_is_wanted(self, tmp_path, server) -> None:
        server.options.reasoning = "I think\u2028so."
        async with sidecar(tmp_path, server, normalize(reasoning_field="reasoning")) as proxy:
            plain = await proxy.ask(chat())
            stream = await proxy.ask(chat(stream=True, seed=1))
            rows = await proxy.rows()
        message = plain.json["choices"][0]["message"]
        assert message["reasoning"] == "I think\u2028so."
        assert "reasoning_content" not in message
        deltas = [json.loads(event.data)["choices"][0]["delta"] for event in split(stream.body).events[:-1]]
        assert "".join(delta.get("reasoning", "") for delta in deltas) == "I think\u2028so."
        assert all("reasoning_content" not in delta for delta in deltas)
        assert {change["why"] for row in rows for change in row["changes"]} == {"reasoning_field"}

    async def test_null_content_is_filled_only_where_it_is_asked_for(self, tmp_path, server) -> None:
        message = {"role": "assistant", "content": None}
        answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        server.on(CHAT, Reply(json=answer))
        async with sidecar(tmp_path, server, normalize()) as proxy:
            assert (await proxy.ask(chat())).json == answer
        async with sidecar(tmp_path, server, normalize(fill_null_content=True)) as proxy:
            assert (await proxy.ask(chat())).json["choices"][0]["message"]["content"] == ""


LEARN = normalize(dialect="vllm", on_unsupported="learn")


class TestLearning:
    """Of a server whose dialect nobody knows."""

    @pytest.fixture
    def odd(self, server):
        server.on(CHAT, refusing("model", "messages", "temperature", "stream", "max_tokens"))
        return server

    async def test_what_is_refused_is_left_out_and_asked_again_once(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            first = await proxy.ask(chat(top_k=1, seed=1))
            second = await proxy.ask(chat(top_k=2, max_tokens=3))
            await replayed(proxy)
            row = (await proxy.rows())[0]
        assert (first.status, second.status) == (200, 200)
        sent = [request.json for request in odd.generation_requests]
        assert sent == [chat(top_k=1, seed=1), chat(), chat(max_tokens=3)]
        assert [(change["field"], change["why"]) for change in row["changes"]] == [
            ("top_k", "vllm has refused it"), ("seed", "vllm has refused it")
        ]  # fmt: skip

    async def test_it_is_known_after_a_restart_and_in_other_runs(self, tmp_path, odd) -> None:
        for run in ("a", "b"):
            async with sidecar(tmp_path, odd, LEARN) as proxy:
                assert (await proxy.ask(chat(top_k=1), x_evalside_run=run)).status == 200
        assert [request.json for request in odd.generation_requests] == [chat(top_k=1), chat()]

    async def test_two_workers_share_it(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as one, sidecar(tmp_path, odd, LEARN) as other:
            await one.ask(chat(top_k=1), x_evalside_run="r")
            odd.clear()
            await other.ask(chat(top_k=1, max_tokens=2), x_evalside_run="r")
        assert [request.json for request in odd.generation_requests] == [chat(max_tokens=2)]

    async def test_a_server_that_names_one_at_a_time_is_asked_again_once_and_remembered(self, tmp_path, server) -> None:
        def picky(request: Any) -> Reply | None:
            named = next((name for name in ("top_k", "min_p", "foo") if name in request.json), None)
            message = f"Unrecognized request argument supplied: {named}"
            return Reply(status=400, json={"error": {"message": message}}) if named else None

        server.on(CHAT, picky)
        async with sidecar(tmp_path, server, LEARN) as proxy:
            first = await proxy.ask(chat(top_k=1, min_p=1, foo=1))
            calls = proxy.calls
            second = await proxy.ask(chat(top_k=1, min_p=1, foo=1))
            third = await proxy.ask(chat(top_k=1, min_p=1, foo=1))
        assert (first.status, calls) == (400, 2)
        assert "min_p" in first.json["error"]["message"]
        assert (second.status, third.cache) == (200, "hit")

    async def test_n_that_is_refused_is_asked_for_choice_by_choice(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            answered = await proxy.ask(chat(n=2, user="u", temperature=1))
            again = await proxy.ask(chat(n=3, temperature=1))
        assert [len(answer.json["choices"]) for answer in (answered, again)] == [2, 3]
        assert proxy.calls == 1 + 2 + 3

    async def test_what_names_no_parameter_is_the_clients(self, tmp_path, server) -> None:
        server.on(CHAT, Reply(status=400, json={"error": {"message": "too long", "code": 400}}))
        async with sidecar(tmp_path, server, LEARN) as proxy:
            answered = await proxy.ask(chat(top_k=1))
        assert (answered.status, answered.json["error"]["message"]) == (400, "too long")
        assert proxy.calls == 1

    async def test_what_a_request_is_nothing_without_is_never_left_out(self, tmp_path, server) -> None:
        server.on(CHAT, refusing("model"))
        async with sidecar(tmp_path, server, LEARN) as proxy:
            answered = await proxy.ask({"messages": [], "tools": []})
        assert answered.status == 422
        assert proxy.calls == 1

    async def test_what_a_run_has_used_is_never_left_out_of_it(self, tmp_path, server) -> None:
        """Else requests that were answered would be others when they come again."""
        picky = Reply(status=400, json={"error": {"message": "Unrecognized request argument supplied: top_k"}})
        server.on(CHAT, lambda request: picky if request.json.get("top_k") == 9 else None)
        async with sidecar(tmp_path, server, LEARN) as proxy:
            taken = await proxy.ask(chat(top_k=1), x_evalside_run="r")
            refused = await proxy.ask(chat(top_k=9), x_evalside_run="r")
            again = await proxy.ask(chat(top_k=1), x_evalside_run="r")
        assert (taken.status, refused.status, again.status) == (200, 400, 200)
        assert again.cache == "hit"

    async def test_an_answer_that_took_what_another_saw_refused_is_asked_again(self, tmp_path) -> None:
        """A run settles each parameter once, also where a server changes its mind in between."""
        async with gated() as upstream, sidecar(tmp_path, upstream, LEARN) as proxy:  # type: ignore[arg-type]
            early = asyncio.ensure_future(proxy.ask(chat(top_k=1, max_tokens=5)))
            slow = await upstream.call()
            late = asyncio.ensure_future(proxy.ask(chat(top_k=2)))
            await (await upstream.call()).answer("Unrecognized request argument supplied: top_k", status=400)
            again = await upstream.call()
            await again.answer("late")
            assert (await late).json["choices"][0]["message"]["content"] == "late"
            await slow.answer("with top_k")
            once_more = await upstream.call()
            await once_more.answer("without")
            answered = await early
        assert [call.json for call in (slow, again, once_more)] == [
            chat(top_k=1, max_tokens=5), chat(), chat(max_tokens=5)
        ]  # fmt: skip
        assert answered.json["choices"][0]["message"]["content"] == "without"

    async def test_a_frozen_run_is_replayed_whatever_was_learned_since(self, tmp_path, server) -> None:
        async with sidecar(tmp_path, server, LEARN) as proxy:
            asked = [chat(top_k=1), chat(min_p=0.5, temperature=1)]
            first = [(await proxy.ask(body, x_evalside_run="old")).body for body in asked]
            server.on(CHAT, refusing("model", "messages", "temperature"))
            await proxy.ask(chat(top_k=2), x_evalside_run="new")
            await proxy.ask(chat(min_p=0.1), x_evalside_run="new")
            calls = proxy.calls
            async with proxy.exchange("/-/runs/old", b"", {}, "POST") as exchange:
                assert (await exchange.start()).status == 200
                await exchange.read()
            second = [await proxy.ask(body, x_evalside_run="old") for body in asked]
        assert [answer.cache for answer in second] == ["hit", "hit"]
        assert [answer.body for answer in second] == first
        assert proxy.calls == calls

    async def test_a_run_is_replayed_with_what_it_learned_itself(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            asked = [chat(top_k=1), chat(seed=3), chat(max_tokens=2, min_p=0.5)]
            first = [(await proxy.ask(body, x_evalside_run="r")).body for body in asked]
            calls = proxy.calls
            second = [await proxy.ask(body, x_evalside_run="r") for body in asked]
        assert [answer.cache for answer in second] == ["hit"] * 3
        assert [answer.body for answer in second] == first
        assert proxy.calls == calls

    async def test_a_run_made_from_another_goes_by_its_profile(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            body = chat(top_k=1, temperature=1)
            first = (await proxy.ask(body, x_evalside_run="a")).body
            odd.on(CHAT, None)
            async with proxy.exchange("/-/runs/b", {"from": "a"}, {}, "POST") as exchange:
                assert (await exchange.start()).status == 200
                await exchange.read()
            answered = await proxy.ask(body, x_evalside_run="b")
        assert (answered.cache, answered.body) == ("hit", first)
