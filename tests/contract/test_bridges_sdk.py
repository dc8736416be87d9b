"""The official OpenAI SDK on routes that the model server does not have, through the whole sidecar."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from proxy.testing import Reply
from tests.unit.wire.bridges.chats import chunk, events

TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
CHAT_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
BRIDGES = {
    "/v1/responses": "responses_to_chat",
    "/v1/chat/completions": {
        "name": "chat_to_completions",
        "config": {"chat_template": CHAT_TEMPLATE, "default_max_tokens": 20},
    },
    "/v1/completions": {"name": "completions_to_chat", "config": {"user_template": "Go on: {{ prompt }}"}},
}


@pytest.fixture
def lacking(model_server, sidecar):
    """Starts a model server that lacks one route and a sidecar that bridges it; gives both and a client's options."""

    def start(path: str, *interceptors: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        server = model_server(**options)
        server.on(path, Reply(status=404, json={"error": {"message": "Not Found"}}))
        pipeline = ["request_logging", "response_logging", "caching", BRIDGES[path], *interceptors]
        proxy = sidecar(server, interceptors=pipeline)
        return server, {"base_url": f"{proxy.url}/v1", "api_key": "unused", "max_retries": 0}

    return start


@pytest.fixture
def responses(lacking):
    server, options = lacking("/v1/responses")
    with openai.OpenAI(**options) as client:
        yield server, client


def test_a_response(responses):
    server, client = responses
    answer = client.responses.create(model="m", input="hello", instructions="Be kind.", temperature=0, store=False)
    assert answer.output_text
    assert (answer.status, answer.instructions, answer.store) == ("completed", "Be kind.", False)
    assert answer.usage.input_tokens_details.cached_tokens == 0
    [request] = server.generation_requests
    assert request.path == "/v1/chat/completions"
    assert [message["role"] for message in request.json["messages"]] == ["system", "user"]


def test_a_response_that_is_cut_is_incomplete(responses):
    _, client = responses
    answer = client.responses.create(model="m", input="hello", max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_turn_with_a_tool_and_its_result(responses):
    """As bfcl-eval does it: what came out goes in again, with the result behind it."""
    server, client = responses
    asked: Any = {"model": "m", "tools": [TOOL], "store": False, "temperature": 0.001}
    asked |= {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}
    items: list[Any] = [{"role": "user", "content": "use the tool"}]
    [call] = client.responses.create(input=items, tool_choice="required", **asked).output
    assert (call.type, call.name) == ("function_call", "weather")
    items += [call, {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert client.responses.create(input=items, tool_choice="none", **asked).output_text
    sent = server.generation_requests[-1].json
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]
    assert sent["messages"][1]["tool_calls"][0]["id"] == sent["messages"][2]["tool_call_id"] == call.call_id


def test_logprobs_and_structured_output(responses):
    _, client = responses
    wanted: Any = {
        "format": {
            "type": "json_schema",
            "name": "n",
            "strict": True,
            "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        }
    }
    answer = client.responses.create(
        model="m", input="hello", text=wanted, include=["message.output_text.logprobs"], top_logprobs=2
    )
    [part] = answer.output[0].content
    assert '"a"' in part.text
    assert "".join(entry.token for entry in part.logprobs) == part.text
    assert len(part.logprobs[0].top_logprobs) == 2


@pytest.mark.parametrize("arguments", [{}, {"tools": [TOOL], "tool_choice": "required"}])
def test_the_stream_helper_puts_the_plain_answer_together(responses, arguments):
    server, client = responses
    asked: Any = {"model": "m", "input": "hello", "temperature": 0, **arguments}
    with client.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    plain = client.responses.create(**asked)
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert final.output_text == plain.output_text
    assert [item.type for item in final.output] == [item.type for item in plain.output]
    assert plain.id == final.id  # the second came from the cache
    assert len(server.generation_requests) == 1


async def test_streams_of_the_asynchronous_client(lacking):
    server, options = lacking("/v1/responses", reasoning="hm hm", answer="yes é\u2028!")
    async with openai.AsyncOpenAI(**options) as client:
        asked: Any = {"model": "m", "input": "hello", "temperature": 0}
        plain = await client.responses.create(**asked)
        events_seen = [event async for event in await client.responses.create(**asked, stream=True)]
        async with client.responses.stream(**asked, top_p=0.5) as stream:
            final = await stream.get_final_response()
    assert [item.type for item in plain.output] == ["reasoning", "message"]
    assert plain.output[0].content[0].text == "hm hm"
    assert events_seen[-1].response == plain
    assert final.output_text == plain.output_text == "yes é\u2028!"
    assert plain.usage.output_tokens_details.reasoning_tokens == 0
    assert len(server.generation_requests) == 2


def test_an_error_in_a_stream_fails_the_response_and_raises(responses):
    server, client = responses
    broken = {"error": {"message": "out of memory", "type": "server_error", "code": "oom"}}
    server.enqueue(Reply(chunks=[events([chunk(content="a"), broken])]))
    seen: list[Any] = []
    with pytest.raises(openai.APIError, match="out of memory"):
        seen.extend(client.responses.create(model="m", input="hello", stream=True))
    assert (seen[-1].type, seen[-1].response.status) == ("response.failed", "failed")
    assert seen[-1].response.error.message == "out of memory"


def test_what_only_the_route_itself_can_do_is_refused(responses):
    server, client = responses
    with pytest.raises(openai.BadRequestError, match="cannot carry over previous_response_id") as caught:
        client.responses.create(model="m", input="hello", previous_response_id="resp_1")
    assert caught.value.code == "not_carried"
    with pytest.raises(openai.BadRequestError, match=r"tools\[0\] .*'web_search'"):
        client.responses.create(model="m", input="hello", tools=[{"type": "web_search"}])
    assert server.generation_requests == []


@pytest.mark.parametrize("extra", [{}, {"n": 2}, {"logprobs": True, "top_logprobs": 2}, {"stop": [" "]}])
def test_a_chat_of_a_server_that_only_completes(lacking, extra):
    server, options = lacking("/v1/chat/completions")
    with openai.OpenAI(**options) as client:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0, **extra}
        plain = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert len(plain.choices) == extra.get("n", 1)
    assert chunks[-1].usage == plain.usage
    said = ["" for _ in plain.choices]
    for item in chunks:
        for choice in item.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == [choice.message.content for choice in plain.choices]
    if "logprobs" in extra:
        scored = plain.choices[0].logprobs.content
        assert "".join(entry.token for entry in scored) == said[0]
        assert len(scored[0].top_logprobs) == 2
    [request] = server.generation_requests
    assert (request.path, request.json["prompt"]) == ("/v1/completions", "user: hello\nassistant:")


@pytest.mark.parametrize("extra", [{}, {"n": 2}, {"logprobs": 2}])
def test_a_completion_of_a_server_that_only_chats(lacking, extra):
    server, options = lacking("/v1/completions")
    with openai.OpenAI(**options) as client:
        asked: Any = {"model": "m", "prompt": "hello", "max_tokens": 30, "temperature": 0, **extra}
        plain = client.completions.create(**asked)
        chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    said = ["" for _ in plain.choices]
    for item in chunks:
        for choice in item.choices:
            said[choice.index] += choice.text
    assert said == [choice.text for choice in plain.choices]
    assert len(said) == extra.get("n", 1)
    if "logprobs" in extra:
        scored = plain.choices[0].logprobs
        assert "".join(scored.tokens) == said[0]
        assert scored.text_offset[1] == len(scored.tokens[0])
        assert {len(top) for top in scored.top_logprobs} == {2}
    [request] = server.generation_requests
    assert request.json["messages"] == [{"role": "user", "content": "Go on: hello"}]


def test_two_bridges_lead_from_responses_to_completions(lacking):
    server, options = lacking("/v1/responses", BRIDGES["/v1/chat/completions"])
    with openai.OpenAI(**options) as client:
        asked: Any = {"model": "m", "input": "hello", "temperature": 0, "max_output_tokens": 100}
        with client.responses.stream(**asked) as stream:
            final = stream.get_final_response()
        assert client.responses.create(**asked).output_text == final.output_text != ""
    [request] = server.generation_requests
    assert (request.path, request.json["prompt"]) == ("/v1/completions", "user: hello\nassistant:")
