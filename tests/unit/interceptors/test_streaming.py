import gzip

import pytest
from pydantic import ValidationError

from proxy.core.errors import AnswerNotEditable
from proxy.interceptors.streaming import StreamingConfig
from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar
from tests.unit.interceptors.alone import REQUEST, ask, events


def chunk(finish=None, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


CHUNKS = [chunk(role="assistant", content=""), chunk(content="4\u2028"), chunk(content="2"), chunk("stop")]


def essence(answer):
    """Text, finish and usage; servers leave null fields out of streams, and number items anew."""
    parts = answer.get("choices") or answer.get("output") or answer["content"]
    texts = [
        part.get("message", {}).get("content") or part.get("text") or [item["text"] for item in part.get("content", [])]
        for part in parts
    ]
    assert all(texts)
    ends = [answer.get("stop_reason"), answer.get("status"), *(part.get("finish_reason") for part in parts)]
    return texts, ends, answer["usage"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat()),
        ("/v1/completions", {"model": "m", "prompt": "hello", "temperature": 0}),
        ("/v1/responses", {"model": "m", "input": "hello", "temperature": 0}),
        ("/v1/messages", {"model": "m", "messages": chat()["messages"], "max_tokens": 9, "temperature": 0}),
    ],
)
async def test_the_client_gets_what_it_would_have_got_without(tmp_path, path, body):
    with ModelServer() as server:
        async with sidecar(tmp_path, server, ["streaming"]) as proxy:
            answered = await proxy.ask(body, path)
            assert proxy.last["stream"] is True
        async with sidecar(tmp_path, server, []) as proxy:
            plain = await proxy.ask(body, path)
    assert answered.header("content-type") == "application/json"
    assert essence(answered.json) == essence(plain.json)


async def test_a_client_that_streams_gets_its_stream():
    body = events(*CHUNKS)
    asked = await ask("streaming", request={**REQUEST, "stream": True}, answer=body)
    assert asked.body == body
    assert asked.changes == []


async def test_lines_of_text_may_hold_any_separator():
    asked = await ask("streaming", answer=events(*CHUNKS))
    assert asked.json["choices"][0]["message"] == {"role": "assistant", "content": "4\u20282"}


async def test_stream_options_of_the_client_are_kept():
    request = {**REQUEST, "stream": False, "stream_options": {"continuous_usage_stats": True}}
    asked = await ask("streaming", request=request, answer=events(*CHUNKS))
    assert asked.sent["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}


async def test_a_server_that_does_not_stream_is_relayed():
    asked = await ask("streaming", answer={"id": "plain"})
    assert asked.json == {"id": "plain"}


@pytest.mark.parametrize(("code", "status"), [(429, 429), ("overloaded", 502), (200, 502)])
async def test_an_error_in_the_stream_is_the_answer(code, status):
    error = {"error": {"message": "no", "code": code}}
    asked = await ask("streaming", answer=events(CHUNKS[0], error))
    assert (asked.response.status, asked.json) == (status, error)


@pytest.mark.parametrize("body", [events(*CHUNKS[:-1]), events(*CHUNKS) + b"data: {", b"data: no\n\n"])
async def test_a_stream_that_makes_no_whole_is_an_error(body):
    with pytest.raises(AnswerNotEditable, match="put together"):
        await ask("streaming", answer=body)


async def test_a_compressed_stream_is_put_together_too():
    headers = [(b"content-encoding", b"gzip")]
    asked = await ask("streaming", answer=gzip.compress(events(*CHUNKS)), headers=headers)
    assert asked.json["choices"][0]["finish_reason"] == "stop"
    with pytest.raises(AnswerNotEditable, match="content encoding"):
        await ask("streaming", answer=b"no gzip", headers=headers)


async def test_the_ledger_has_both(tmp_path):
    asked = await ask("streaming", answer=events(*CHUNKS))
    assert [field for _, field in asked.changes] == ["stream", "stream_options", "header:content-type", "(body)"]


def test_only_routes_with_streams_can_be_named():
    with pytest.raises(ValidationError, match="no meaning"):
        StreamingConfig.model_validate({"routes": ["embeddings"]})
