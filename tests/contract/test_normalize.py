"""normalize through the whole sidecar, in front of servers that behave like real ones."""

import asyncio
import json
from typing import Any

import pytest

from proxy.testing import ModelServer, Reply
from proxy.wire.sse import split
from tests.contract.normalizing import COMPLETIONS, normalize, replayed, strict_server
from tests.contract.sidecar import CHAT, chat, sidecar


@pytest.fixture
def strict():
    with strict_server() as running:
        yield running


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


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

    @pytest.mark.parametrize("unsupported", ["error", "learn"])
    @pytest.mark.parametrize("setting", [True, False])
    async def test_under_strict_they_are_the_servers_own(self, tmp_path, strict, setting, unsupported) -> None:
        strict.options.strict_model = True
        given = {} if setting else {"strict": True}
        options, more = normalize(on_unsupported=unsupported, **given), {"strict": True} if setting else {}
        async with sidecar(tmp_path, strict, options, **more) as proxy:
            answered = await proxy.ask(chat(model="other"))
            refused = Reply(status=422, body=b'{"detail": "Unexpected fields in the request: {\'seed\'}"}')
            strict.enqueue(refused)
            unknown = await proxy.ask(chat(seed=1))
        assert (answered.status, answered.json) == (404, {"detail": "The model `other` does not exist."})
        assert (unknown.status, unknown.body) == (422, refused.body)

    async def test_what_it_takes_passes_byte_for_byte(self, tmp_path, strict) -> None:
        raw = b'{ "model":"m","messages": [{"role":"user","content":"x"}],"temperature":0.00 }'
        async with sidecar(tmp_path, strict, normalize(on_unsupported="learn")) as proxy:
            answered = await proxy.ask(raw)
        assert strict.generation_requests[-1].body == raw
        assert answered.header("x-evalside-changes") is None


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


async def test_a_stream_of_a_plain_answer_shows_the_usage_that_the_server_cannot_be_asked_for(strict, tmp_path):
    async with sidecar(tmp_path, strict, normalize(dialect="transformers")) as proxy:
        plain = await proxy.ask(chat())
        assert (await proxy.ask(chat())).cache == "hit"  # by now it is in the store
        asked = await proxy.ask(chat(stream=True, stream_options={"include_usage": True}))
        unasked = await proxy.ask(chat(stream=True))
        assert proxy.calls == 1
    assert (asked.cache, unasked.cache) == ("hit", "hit")
    documents = [json.loads(event.data) for event in split(asked.body).events if event.data != b"[DONE]"]
    assert [document["usage"] for document in documents if document.get("usage")] == [plain.json["usage"]]
    assert b"usage" not in unasked.body
