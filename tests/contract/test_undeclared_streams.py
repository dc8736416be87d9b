"""Events that a model server sends under another content type than theirs: interceptors act on them, or refuse."""

import json

import httpx
import pytest

from proxy.testing import ModelServer, Reply
from proxy.wire.sse import split
from tests.contract.sidecar import CHAT, chat
from tests.contract.sidecar import sidecar as driven


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


CHUNKS = [chunk("<think>four"), chunk("</think>"), chunk("4", "stop"), b"data: [DONE]\n\n"]


def texts(body: bytes, name: str) -> str:
    read = [json.loads(event.data) for event in split(body).events if event.data != b"[DONE]"]
    return "".join(choice["delta"].get(name) or "" for document in read for choice in document["choices"])


@pytest.fixture(params=["text/plain", "application/json", "application/octet-stream"])
def reply(request):
    return Reply(chunks=CHUNKS, headers={"content-type": request.param})


async def test_reasoning_is_moved_and_noted(tmp_path, reply):
    with ModelServer() as server:
        async with driven(tmp_path, server, ["request_logging", "reasoning"]) as proxy:
            server.on(CHAT, reply)
            answer = await proxy.ask(chat(stream=True))
    assert (texts(answer.body, "content"), texts(answer.body, "reasoning_content")) == ("4", "four")
    assert answer.header("content-type") == reply.headers["content-type"]


def test_strict_breaks_the_answer_off(model_server, sidecar, reply):
    server = model_server()
    server.on(CHAT, reply)
    running = sidecar(server, interceptors=[{"name": "reasoning", "config": {"strict": True}}])
    with httpx.Client(base_url=running.url) as client, pytest.raises(httpx.RemoteProtocolError):
        client.post(CHAT, json=chat(stream=True))  # behind these headers there is no place for an error


async def test_a_missing_done_is_added(tmp_path, reply):
    with ModelServer() as server:
        spec = {"name": "normalize", "config": {"dialect": "transformers"}}
        async with driven(tmp_path, server, [spec]) as proxy:
            server.on(CHAT, Reply(chunks=CHUNKS[:-1], headers=reply.headers))
            answer = await proxy.ask(chat(stream=True))
    assert answer.body == b"".join(CHUNKS)


async def test_a_plain_client_gets_one_document(tmp_path, reply):
    with ModelServer() as server:
        async with driven(tmp_path, server, ["streaming"]) as proxy:
            server.on(CHAT, reply)
            answer = await proxy.ask(chat())
    assert answer.json["choices"][0]["message"]["content"] == "<think>four</think>4"
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_bridge_refuses_them(tmp_path, reply, streamed):
    with ModelServer() as server:
        async with driven(tmp_path, server, ["responses_to_chat"]) as proxy:
            server.on(CHAT, reply)
            answer = await proxy.ask({"model": "m", "input": "hi", "stream": streamed}, "/v1/responses")
    assert (answer.status, answer.json["error"]["code"]) == (502, "answer_not_editable")
    assert reply.headers["content-type"] in answer.json["error"]["message"]


async def test_they_are_counted_as_a_stream(tmp_path, reply):
    with ModelServer() as server:
        async with driven(tmp_path, server, None) as proxy:
            server.on(CHAT, reply)
            await proxy.ask(chat(stream=True), f"/-/runs/r{CHAT}")
            statistics = json.loads((await proxy.get("/-/runs/r")).body)["statistics"]
    assert statistics["finish_reason"] == {"stop": 1}
