import json
from typing import Any

import pytest

from proxy.wire.compare import differences

CHAT: dict[str, Any] = {
    "id": "a",
    "created": 1,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"completion_tokens": 1},
    "system_fingerprint": "x",
}


def chat(**message: Any) -> dict[str, Any]:
    finish = message.pop("finish_reason", "stop")
    made = {"role": "assistant", "content": "hi", **message}
    return {**CHAT, "choices": [{"index": 0, "message": made, "finish_reason": finish}]}


def completion(text: str = "hi", finish: str = "stop") -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": {"tokens": [text]}}]}


def response(*items: Any, status: str = "completed") -> dict[str, Any]:
    return {"id": "r", "created_at": 1, "status": status, "output": list(items)}


def message(*blocks: Any, stop: str = "end_turn") -> dict[str, Any]:
    return {"id": "m", "type": "message", "content": list(blocks), "stop_reason": stop, "usage": {"input_tokens": 1}}


def call(name: str, **other: Any) -> dict[str, Any]:
    return {"id": other.pop("id", "1"), "type": "function", "function": {"name": name, "arguments": "{}", **other}}


CALLS = "tool_calls"
TEXT = {"type": "text", "text": "hi"}
SAID = {"type": "message", "id": "m1", "content": [{"type": "output_text", "text": "hi", "logprobs": []}]}


def use(**given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "t", "name": "f", "input": given}


@pytest.mark.parametrize(
    ("route", "one", "other", "found"),
    [
        ("chat", CHAT, {**CHAT, "id": "b", "created": 2, "usage": None, "timings": {}, "system_fingerprint": "y"}, []),
        ("chat", CHAT, chat(), []),
        ("chat", chat(tool_calls=[]), chat(tool_calls=None), []),
        ("chat", chat(), chat(content="ho"), ["content"]),
        ("chat", chat(), chat(reasoning_content="why"), ["content"]),
        ("chat", chat(), chat(finish_reason="length"), ["finish_reason"]),
        ("chat", chat(tool_calls=[call("f")]), chat(tool_calls=[call("f", id="2")]), []),
        ("chat", chat(tool_calls=[call("f")]), chat(tool_calls=[call("g")]), ["tool_calls"]),
        ("chat", chat(), chat(function_call={"name": "f"}), ["tool_calls"]),
        ("chat", chat(tool_calls=[call("f", arguments={"id": 1})]), chat(tool_calls=[call("f")]), [CALLS]),
        ("chat", chat(), {**CHAT, "choices": CHAT["choices"] * 2}, ["content", "finish_reason", "tool_calls"]),
        ("chat", {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]}, chat(), ["content"]),
        ("completions", completion(), completion(), []),
        ("completions", completion(), completion("ho"), ["content"]),
        ("completions", completion(), completion("ho", "length"), ["content", "finish_reason"]),
        ("responses", response(SAID), response({**SAID, "id": "m2"}), []),
        ("responses", response(SAID), response(), ["content"]),
        ("responses", response(SAID), response(SAID, status="incomplete"), ["finish_reason"]),
        (
            "responses",
            response({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}),
            response({"type": "function_call", "call_id": "2", "name": "f", "arguments": "[]"}),
            ["tool_calls"],
        ),
        ("messages", message(TEXT, use(a=1)), message(TEXT, {**use(a=1), "id": "u"}), []),
        ("messages", message(TEXT, use(id=1)), message(TEXT, use(id=2)), ["tool_calls"]),
        ("messages", message(TEXT), message("hi", stop="max_tokens"), ["content", "finish_reason"]),
        ("embeddings", {"data": [{"embedding": [1.0]}], "usage": {}}, {"data": [{"embedding": [1.0]}]}, []),
        ("embeddings", {"data": [{"embedding": [1.0]}]}, {"data": [{"embedding": [2.0]}]}, ["content"]),
    ],
)  # fmt: skip
def test_what_differs_between_two_plain_answers(route: str, one: Any, other: Any, found: list[str]) -> None:
    assert differences(route, "plain", json.dumps(one).encode(), json.dumps(other).encode()) == found
    assert differences(route, "plain", json.dumps(other).encode(), json.dumps(one).encode()) == found


def stream(*texts: str, finish: str = "stop", moment: str = "a") -> bytes:
    chunks: list[dict[str, Any]] = [{"delta": {"content": text}, "finish_reason": None} for text in texts]
    chunks.append({"delta": {}, "finish_reason": finish})
    lines = [{"id": moment, "object": "chat.completion.chunk", "choices": [{"index": 0, **chunk}]} for chunk in chunks]
    return b"".join(b"data: " + json.dumps(line).encode() + b"\n\n" for line in lines) + b"data: [DONE]\n\n"


def test_streams_are_compared_by_what_they_say_and_not_by_their_chunks() -> None:
    assert differences("chat", "sse", stream("a", "b"), stream("ab", moment="b")) == []
    assert differences("chat", "sse", stream("a", "b"), stream("a", "c")) == ["content"]
    assert differences("chat", "sse", stream("a"), stream("a", finish="length")) == ["finish_reason"]


@pytest.mark.parametrize(("shape", "body"), [("plain", b"no json"), ("sse", b"data: {")])
def test_what_cannot_be_read_is_an_error(shape: str, body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        differences("chat", shape, body, body)
