"""Answers in JSON that no model server should give: they fail no interceptor that has nothing to do with them."""

import json
from typing import Any

import pytest

from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import CHAT, chat, sidecar

COMPLETIONS = "/v1/completions"
ODD: list[dict[str, Any]] = [
    {"choices": 3, "usage": []},
    {"choices": {"a": 1}, "usage": {"completion_tokens": "a"}},
    {"choices": [None, 3, [], {"index": "x", "message": None, "delta": None, "finish_reason": ["stop"]}]},
    {"choices": [{"index": [1], "message": [], "delta": [], "text": None, "finish_reason": "stop"}], "usage": {}},
    {"choices": [{"message": {"content": ["a"], "tool_calls": {"a": 1}}, "delta": {"content": 3}, "text": {}}]},
    {"choices": [{"message": {"tool_calls": [{"id": ["x"]}], "reasoning": 3}, "logprobs": [1], "text": "a"}]},
    {"detail": [1, {"loc": 3}], "error": None},
]
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("reasoning", {}),
    ("reasoning", {"migrate_reasoning_content": True}),
    ("finish_reason", {}),
    ("normalize", {"dialect": "llama.cpp", "fill_null_content": True, "reasoning_field": "reasoning"}),
    ("normalize", {"dialect": "transformers", "on_unsupported": "learn"}),
    ("streaming", {}),
    ("reasoning_replay", {}),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
async def test_what_no_server_should_say_fails_no_interceptor(tmp_path, name, options, streamed):
    with ModelServer() as server:
        async with sidecar(tmp_path, server, [{"name": name, "config": options}]) as proxy:
            for answer in ODD:
                event = b"data: " + json.dumps(answer).encode() + b"\n\n"
                reply = Reply(chunks=[event, b"data: [DONE]\n\n"]) if streamed else Reply(json=answer)
                for path, body in (
                    (CHAT, chat(max_tokens=5)),
                    (COMPLETIONS, {"model": "m", "prompt": "", "max_tokens": 5}),
                ):
                    server.on(path, reply)
                    for stream in (False, True):
                        answered = await proxy.ask({**body, "stream": stream}, path)
                        assert b"interceptor_failed" not in answered.body
