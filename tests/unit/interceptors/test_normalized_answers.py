import json
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.stream import ByteStream
from proxy.dialects.model import AnswerDialect, Dialect
from proxy.interceptors.normalized_answers import AnswerOptions, normalize_answer
from tests.unit.interceptors.alone import PATHS, ask, events

COMPLETION = {"model": "m", "prompt": "x"}


async def test_errors_that_have_another_shape_stay():
    error = {"error": {"message": "no"}}

    asked = await ask("normalize", {"dialect": "transformers"}, answer=error, status=400)

    assert asked.json == error


@pytest.mark.parametrize("answer", [[1], "text"])
async def test_errors_that_are_no_object_stay(answer):
    asked = await ask("normalize", {"dialect": "transformers"}, answer=answer, status=500)

    assert asked.json == answer


async def test_an_answer_that_needs_no_change_keeps_its_bytes():
    choice = {"index": 0, "text": "x", "logprobs": None}

    asked = await ask("normalize", {"dialect": "llama.cpp"}, request=COMPLETION, answer={"choices": [choice]},
                      route="completions")  # fmt: skip

    assert asked.body == json.dumps({"choices": [choice]}).encode()
    assert asked.changes == []


@pytest.mark.parametrize("answer", [[1], {"choices": None}, {"choices": ["x"]}, {"choices": [{"message": 5}]}])
async def test_answers_that_are_none_pass(answer):
    options = {"dialect": "llama.cpp", "reasoning_field": "reasoning", "fill_null_content": True}
    assert (await ask("normalize", options, answer=answer)).json == answer


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": None}, ""),
        ({"content": None, "tool_calls": [{}]}, None),
        ({"content": None, "function_call": {}}, ""),
        ({"content": None, "function_call": {"name": "f"}}, None),
        ({"content": "x"}, "x"),
    ],
)
async def test_null_content_is_filled_where_there_are_no_calls(message, content):
    answer = {"choices": [{"index": 0, "message": message}]}

    asked = await ask("normalize", {"dialect": "vllm", "fill_null_content": True}, answer=answer)

    assert asked.json["choices"][0]["message"]["content"] == content


async def test_reasoning_that_has_both_names_keeps_them():
    message = {"reasoning": "a", "reasoning_content": "b"}
    answer = {"choices": [{"message": message}, {"message": {"reasoning": None}}, {"message": {"reasoning": "c"}}]}

    asked = await ask("normalize", {"dialect": "vllm", "reasoning_field": "reasoning_content"}, answer=answer)

    assert [choice["message"] for choice in asked.json["choices"]] == [
        message, {"reasoning": None}, {"reasoning_content": "c"}
    ]  # fmt: skip


async def test_an_error_gets_the_shape_that_clients_read_with_a_reason_for_each_field():
    asked = await ask("normalize", {"dialect": "transformers"}, answer={"detail": "no"}, status=422)

    assert asked.json["error"]["message"] == "no"
    assert {(change.field, change.why) for change in asked.exchange.ledger.changes} == {
        ("detail", "transformers has errors of its own shape"),
        ("error", "transformers has errors of its own shape"),
    }


async def test_an_error_that_is_a_stream_stays():
    asked = await ask("normalize", {"dialect": "transformers"}, answer=b'{"detail": "no"}', status=422)

    assert asked.body == b'{"detail": "no"}'


async def test_plain_answers_get_no_done():
    asked = await ask("normalize", {"dialect": "transformers"}, answer={"choices": []})

    assert asked.json == {"choices": []}


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_stream_is_changed_event_by_event(size):
    deltas = [{"role": "assistant", "content": None}, {"reasoning_content": "é\u2028"}, {}, {"content": "x"}]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    raw = b": hello\r\n\r\n" + events(*chunks, done=False)
    options = {"dialect": "transformers", "reasoning_field": "reasoning", "fill_null_content": True}

    asked = await ask("normalize", options, answer=raw, size=size)

    assert [document["choices"][0]["delta"] for document in asked.documents] == [
        {"role": "assistant", "content": ""}, {"reasoning": "é\u2028"}, {}, {"content": "x"}, {}
    ]  # fmt: skip
    assert asked.body.startswith(b": hello\r\n\r\n")
    assert asked.body.endswith(b"data: [DONE]\n\n")
    assert {(change.field, change.why) for change in asked.exchange.ledger.changes} == {
        ("choices[0].delta.content", "fill_null_content"),
        ("choices[0].delta.reasoning_content", "reasoning_field"),
        ("choices[0].delta.reasoning", "reasoning_field"),
        ("event", "transformers ends its streams without"),
    }


def chunk(route, piece, finish=None):
    choice = {"index": 0, "finish_reason": finish, **({"delta": piece} if route == "chat" else piece)}
    document = {"id": "é", "object": "x", "choices": [choice]}
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\r\n\r\n"


def entry(token):
    return {"content": [{"token": token, "logprob": -1.5, "top_logprobs": []}]}


STREAMS = {
    "chat": [
        chunk("chat", {"role": "assistant", "content": None}),
        b": a comment\r\n\r\n",
        chunk("chat", {"reasoning": "\u2028é\U0001f600"}),
        chunk("chat", {}),
        chunk("chat", {"content": "\u2028"}, "stop"),
    ],
    "completions": [
        chunk("completions", {"text": "é", "logprobs": entry("é")}),
        b"event: message\rid: 1\rdata: {}\r\r",
        chunk("completions", {"text": "", "logprobs": None}),
        chunk("completions", {"text": "\u2028", "logprobs": entry("\u2028")}, "stop"),
    ],
}
ENDS = [b"", b"data: [DONE]\n\n", b'data: {"error": {"message": "no"}}\n\n', b'data: {"choices": [']
EVERYTHING = Dialect(name="one", answers=AnswerDialect(done="missing", completions_logprobs="chat"))


async def changed(route, stream, cuts):
    """What becomes of a stream that comes in these pieces, and what the ledger has of it."""

    async def source() -> AsyncIterator[bytes]:
        for start, end in pairwise([0, *sorted(cuts), len(stream)]):
            yield stream[start:end]

    exchange = Exchange(Request("POST", PATHS[route], b"", [], Payload(b"{}")), route=route)
    response = Response(200, [(b"content-type", b"text/event-stream")], ByteStream(source()))
    options = AnswerOptions("reasoning_content", fill_null_content=True)
    exchange.ledger.begin_answer(response)
    normalize_answer(exchange, response, EVERYTHING, options, name="normalize")
    exchange.ledger.note_answer("normalize", response)
    return await response.read(), exchange.ledger.changes


@pytest.mark.parametrize("route", STREAMS)
@pytest.mark.parametrize("end", ENDS)
@given(st.data())
async def test_every_chunking_gives_the_same(route, end, data):
    stream = b"".join(STREAMS[route]) + end
    whole = await changed(route, stream, [])

    cut = await changed(route, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))

    assert cut == whole
    assert (b"[DONE]" in whole[0]) is (end in ENDS[:2])
    assert whole[0] != stream
    assert {change.why for change in whole[1]} <= {
        "reasoning_field", "fill_null_content", "one ends its streams without", "one gives them the shape of a chat's"
    }  # fmt: skip
