"""JSON that no client should send: it is the model server's to refuse, and fails no interceptor."""

import pytest

from proxy.testing import ModelServer
from tests.contract.sidecar import CHAT, sidecar

ODD = [
    {"model": "m", "messages": [{"role": ["x"], "content": "a"}, {"role": {"y": 1}}], "input": [{"role": ["x"]}]},
    {
        "model": "m",
        "messages": [{"role": []}, 3, None, []],
        "prompt": {"a": 1},
        "max_tokens": "a",
        "stream_options": [],
    },
    {"model": "m", "messages": {"a": 1}, "tools": {"x": 1}, "n": "many", "stop": {}, "system": 7, "instructions": []},
    {"model": ["m"], "tools": [1, {"function": 3}, {"parameters": []}], "temperature": "hot", "seed": "x", "n": True},
    {"model": "m", "messages": [{"role": "assistant", "tool_calls": [1, {"id": []}], "content": {"a": 1}}], "foo": {}},
]
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
TRANSFORMS = {
    "system_message": {"system_message": "s"},
    "consolidate_system": {},
    "turn_counter": {"max_turns": 5, "trigger": "periodic"},
    "modify_tools": {"strip_properties": ["x"]},
    "reasoning_replay": {},
    "normalize": {"dialect": "transformers", "on_unsupported": "learn"},
    "payload_modifier": {"params_to_remove": ["foo"], "params_to_rename": {"messages[].role": "kind"}},
    "streaming": {},
    "finish_reason": {},
    "reasoning": {},
    "responses_to_chat": {},
    "chat_to_completions": {"chat_template": TEMPLATE, "default_max_tokens": 5},
}


@pytest.mark.parametrize("name", TRANSFORMS)
async def test_what_no_client_should_send_fails_no_interceptor(tmp_path, name):
    with ModelServer() as server:
        async with sidecar(tmp_path, server, [{"name": name, "config": TRANSFORMS[name]}]) as proxy:
            for body in ODD:
                for path in (CHAT, "/v1/completions", "/v1/responses", "/v1/messages"):
                    assert b"interceptor_failed" not in (await proxy.ask(body, path)).body
