"""What interceptors of chats do to the chat that a bridge makes of a response."""

import json
from typing import Any

import pytest

from proxy.testing import ModelServer, Reply
from proxy.wire.sse import split
from tests.contract.sidecar import CHAT, sidecar

RESPONSES = "/v1/responses"
BRIDGE = "responses_to_chat"


def said(text: str, streamed: bool, **more: str) -> Reply:
    head: dict[str, Any] = {"id": "1", "created": 1, "model": "m"}
    if not streamed:
        message = {"role": "assistant", "content": text, **more}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return Reply(json={**head, "object": "chat.completion", "choices": [choice]})
    pieces: list[dict[str, str]] = [{"role": "assistant", **more}, *({"content": piece} for piece in text)]
    chunks: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in pieces]
    chunks.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    written = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in chunks]
    return Reply(chunks=[*(b"data: " + json.dumps(item).encode() + b"\n\n" for item in written), b"data: [DONE]\n\n"])


def output(body: bytes, streamed: bool) -> dict[str, str]:
    """The text of each kind of item."""
    document = json.loads(body) if not streamed else json.loads(split(body).events[-1].data)["response"]
    return {item["type"]: "".join(part["text"] for part in item["content"]) for item in document["output"]}


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning_is_taken_out_of_the_text_of_a_response(tmp_path, server, streamed):
    server.on(CHAT, said("<think>four</think>4", streamed))
    async with sidecar(tmp_path, server, ["reasoning", BRIDGE]) as proxy:
        answer = await proxy.ask({"model": "m", "input": "2+2", "stream": streamed}, RESPONSES)
    assert output(answer.body, streamed) == {"reasoning": "four", "message": "4"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("as_items", [False, True])
async def test_reasoning_is_given_back_to_a_client_that_leaves_it_out(tmp_path, server, streamed, as_items):
    server.on(CHAT, said("4", streamed, reasoning_content="four"))
    async with sidecar(tmp_path, server, ["reasoning_replay", BRIDGE]) as proxy:
        asked = {"role": "user", "content": [{"type": "input_text", "text": "2+2"}]} if as_items else None
        first = {"model": "m", "input": [asked] if asked else "2+2", "stream": streamed}
        await proxy.ask(first, f"/-/runs/r{RESPONSES}")
        user = asked or {"role": "user", "content": "2+2"}
        earlier = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}
        body = {"model": "m", "input": [user, earlier, {"role": "user", "content": "why?"}]}
        server.on(CHAT, said("so", streamed=False))
        await proxy.ask(body, f"/-/runs/r{RESPONSES}")
        assert proxy.last["messages"][1] == {"role": "assistant", "content": "<think>four</think>\n4"}
        await proxy.ask(
            {**body, "input": [{**user, "content": "another"}, *body["input"][1:]]}, f"/-/runs/r{RESPONSES}"
        )
        assert proxy.last["messages"][1] == {"role": "assistant", "content": "4"}


async def test_system_messages_of_the_chat_are_joined_the_note_of_turns_included(tmp_path, server):
    server.on(CHAT, said("4", streamed=False))
    counter = {"name": "turn_counter", "config": {"max_turns": 9, "trigger": "periodic"}}
    async with sidecar(tmp_path, server, ["consolidate_system", counter, BRIDGE]) as proxy:
        items = [{"role": "user", "content": "2+2"}, {"role": "developer", "content": "be brief"}]
        await proxy.ask({"model": "m", "instructions": "add", "input": items}, RESPONSES)
        assert proxy.last["messages"] == [
            {"role": "system", "content": "add\n[Turn 1 of 9.]\n\nbe brief"},
            {"role": "user", "content": "2+2"},
        ]


async def test_turns_of_a_bridged_response_end_at_the_budget(tmp_path, server):
    server.on(CHAT, said("4", streamed=False))
    counter = {"name": "turn_counter", "config": {"max_turns": 1}}
    async with sidecar(tmp_path, server, [counter, BRIDGE]) as proxy:
        user, earlier = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
        assert (await proxy.ask({"model": "m", "input": [user]}, RESPONSES)).status == 200
        answer = await proxy.ask({"model": "m", "input": [user, earlier, user]}, RESPONSES)
    assert (answer.status, answer.json["error"]["code"]) == (429, "session_budget_exhausted")
