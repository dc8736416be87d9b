import json

import pytest

from proxy.testing import ModelServer
from proxy.wire.usage import counted
from tests.contract.sidecar import chat, sidecar
from tests.unit.interceptors.alone import events

BODIES = {
    "/v1/chat/completions": ("chat", {**chat(), "stream_options": {"include_usage": True}}),
    "/v1/completions": ("completions", {"model": "m", "prompt": "hi", "stream_options": {"include_usage": True}}),
    "/v1/responses": ("responses", {"model": "m", "input": "hi"}),
    "/v1/messages": ("messages", {"model": "m", "max_tokens": 9, "messages": chat()["messages"]}),
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_counts_like_the_plain_answer(tmp_path, path):
    route, body = BODIES[path]
    with ModelServer() as server:
        async with sidecar(tmp_path, server, []) as proxy:
            bare = {name: value for name, value in body.items() if name != "stream_options"}
            plain = counted(route, (await proxy.ask({**bare, "temperature": 0}, path)).body, streamed=False)
            streamed = counted(
                route, (await proxy.ask({**body, "temperature": 0, "stream": True}, path)).body, streamed=True
            )
    assert plain is not None
    assert streamed == plain
    assert plain.prompt_tokens
    assert plain.completion_tokens
    assert plain.total_tokens == plain.prompt_tokens + plain.completion_tokens
    assert len(plain.finish_reasons) == 1


def call(index=None, **fields):
    return {**({} if index is None else {"index": index}), "id": "c", "function": {"name": "f"}, **fields}


def test_every_choice_and_call_of_a_plain_answer_counts():
    answer = {
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": [call(), call()]}},
            {"index": 1, "finish_reason": "function_call", "message": {"function_call": {"name": "f"}}},
            {"index": 2, "finish_reason": None, "message": {"content": "x"}},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}},
    }
    found = counted("chat", json.dumps(answer).encode(), streamed=False)
    assert found is not None
    assert (found.tool_calls, found.function_calls) == (2, 1)
    assert found.finish_reasons == ["tool_calls", "function_call"]
    assert (found.prompt_tokens, found.total_tokens, found.reasoning_tokens, found.model) == (1, 3, 3, "m")


def test_pieces_of_one_call_count_once():
    chunks = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [call(0)]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [call(0), call(1)], "function_call": {"arguments": "x"}}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    ]
    found = counted("chat", events(*chunks), streamed=True)
    assert found is not None
    assert (found.tool_calls, found.function_calls, found.prompt_tokens) == (2, 0, None)


def test_tool_calls_of_the_other_routes():
    answer = {"status": "completed", "output": [{"type": "function_call"}, {"type": "message"}], "usage": None}
    found = counted("responses", json.dumps(answer).encode(), streamed=False)
    assert found is not None
    assert (found.tool_calls, found.finish_reasons) == (1, ["completed"])
    block = {"type": "content_block_start", "content_block": {"type": "tool_use"}}
    found = counted(
        "messages", events(block, {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}), streamed=True
    )
    assert found is not None
    assert (found.tool_calls, found.finish_reasons) == (1, ["tool_use"])


@pytest.mark.parametrize("body", [b"", b"no", b"[1]", b'{"error": {"message": "no"}}'])
def test_what_is_no_answer_has_no_numbers(body):
    assert counted("chat", body, streamed=False) is None


def test_routes_without_choices_have_usage_alone():
    found = counted("embeddings", b'{"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}', streamed=False)
    assert found is not None
    assert (found.prompt_tokens, found.total_tokens, found.finish_reasons) == (5, 5, [])


def test_a_choice_that_says_nothing_counts_nothing():
    found = counted("chat", b'{"choices": [{"index": 0}, 5], "usage": 7}', streamed=False)
    assert found is not None
    assert (found.finish_reasons, found.tool_calls, found.prompt_tokens) == ([], 0, None)


def test_an_answer_without_a_status_has_no_end():
    found = counted("responses", b'{"output": []}', streamed=False)
    assert found is not None
    assert found.finish_reasons == []


def test_a_number_that_no_database_holds_is_none():
    found = counted("chat", b'{"usage": {"prompt_tokens": 9223372036854775808, "total_tokens": 1}}', streamed=False)
    assert found is not None
    assert (found.prompt_tokens, found.total_tokens) == (None, 1)


def test_the_numbers_of_an_error_are_none():
    assert counted("messages", events({"usage": {"input_tokens": 1}}, {"error": {}}), streamed=True) is None
