"""Whatever a client or a model server sends, the bridges answer with a result or with one of their own errors."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.document import encode
from proxy.core.errors import AnswerNotEditable, NotCarried
from proxy.wire.bridges.choices import ChatOfCompletion, CompletionOfChat
from proxy.wire.bridges.completions_request import Options, completions_request
from proxy.wire.bridges.event_bridge import EventBridge
from proxy.wire.bridges.prompt_request import prompt_request
from proxy.wire.bridges.responses_answer import Asked, response
from proxy.wire.bridges.responses_events import ResponseEvents
from proxy.wire.bridges.responses_request import chat_request
from proxy.wire.bridges.template import Template, strict_template
from proxy.wire.sse import DONE, split
from tests.unit.wire.bridges.chats import USAGE, answer, chunk, events, tool_delta, used

ODD: list[Any] = [{}, [{}], [{"type": "text"}], {"type": "function"}, {"name": {}}, {"content": []}, {"index": {}}]
PLAIN: list[Any] = [None, True, False, 0, 7, -1.5, "", "a", "text", "function", [], [1], ["a"], [None], [[]], {"a": 1}]
JUNK: st.SearchStrategy[Any] = st.sampled_from([*PLAIN, *ODD])
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCORED = {
    "token": "a",
    "logprob": -1.0,
    "bytes": [97],
    "top_logprobs": [{"token": "a", "logprob": -1.0, "bytes": [97]}],
}
DETAILED = {
    **USAGE,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
CHAT = answer(content="a", reasoning_content="b", refusal="c", tool_calls=[CALL], annotations=[{}], usage=DETAILED)
CHAT["choices"][0]["logprobs"] = {"content": [SCORED], "refusal": None}
COMPLETION = {
    "id": "cmpl-1",
    "choices": [
        {
            "index": 0,
            "text": "a",
            "finish_reason": "stop",
            "logprobs": {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0}], "text_offset": [0]},
        }
    ],
    "usage": USAGE,
}
CHUNKS = {
    "chunks": [
        chunk(role="assistant", content=""),
        chunk(reasoning_content="a"),
        chunk(content="a", logprobs={"content": [SCORED]}),
        tool_delta(0, "{", "f"),
        tool_delta(0, "}"),
        chunk("stop"),
        used(),
    ]
}
RESPONSES = {
    "model": "m",
    "input": [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:x"}],
        },
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "a"}], "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a"}]},
    ],
    "instructions": "a",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 1,
    "stream": True,
    "stream_options": {"include_obfuscation": True},
    "max_output_tokens": 3,
    "metadata": {"a": "b"},
    "store": False,
}
CHATTED = {
    "model": "m",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
    ],
    "logprobs": True,
    "top_logprobs": 1,
    "max_tokens": 3,
    "chat_template_kwargs": {"a": 1},
    "tool_choice": "auto",
    "response_format": {"type": "text"},
    "store": True,
}
PROMPTED = {"prompt": ["a"], "max_tokens": 3, "logprobs": 1, "n": 2, "best_of": 2, "echo": False, "stream": True}
TEMPLATE = Template("{{ messages | tojson }}")
relaxed = settings(max_examples=200, deadline=None)


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every object or list with each of its keys or indexes."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from places(document[key])


def spoiled(good: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A good body with junk in one or two places."""

    def spoil(picks: list[tuple[int, Any]]) -> Any:
        body = copy.deepcopy(good)
        for pick, junk in picks:
            found = list(places(body))
            if found:
                holder, key = found[pick % len(found)]
                holder[key] = copy.deepcopy(junk)
        return body

    return st.lists(st.tuples(st.integers(0, 200), JUNK), min_size=1, max_size=2).map(spoil)


@pytest.mark.parametrize(
    ("convert", "good"),
    [
        (chat_request, RESPONSES),
        (lambda body: completions_request(body, Options(TEMPLATE, {}, 9)), CHATTED),
        (lambda body: prompt_request(body, strict_template("{{ prompt }}"), 9), PROMPTED),
    ],
)
@relaxed
@given(data=st.data())
def test_requests(convert, good, data):
    body = data.draw(spoiled(good))
    before = encode(body)
    with contextlib.suppress(NotCarried):
        encode(convert(body).body)
    assert encode(body) == before, "the request itself is not changed"


@pytest.mark.parametrize(
    ("convert", "good"),
    [
        (lambda body: response(Asked({}, "1"), body)[0], CHAT),
        (lambda body: ChatOfCompletion(2).whole(body), COMPLETION),
        (lambda body: CompletionOfChat().whole(body), CHAT),
    ],
)
@relaxed
@given(data=st.data())
def test_answers(convert, good, data):
    body = data.draw(spoiled(good))
    with contextlib.suppress(AnswerNotEditable):
        assert isinstance(json.loads(encode(convert(body))), dict)


@pytest.mark.parametrize(
    ("translator", "good"),
    [
        (lambda: ResponseEvents(Asked({}, "1")), CHUNKS),
        (ChatOfCompletion, {"chunks": [COMPLETION, COMPLETION]}),
        (CompletionOfChat, CHUNKS),
    ],
)
@relaxed
@given(data=st.data())
def test_streams(translator, good, data):
    chunks = data.draw(spoiled(good))["chunks"]
    bridge = EventBridge(translator(), bridge="b", why="w")
    with contextlib.suppress(AnswerNotEditable):
        said = bridge.feed(events(chunks if isinstance(chunks, list) else [])) + bridge.end()
        found = [event.data for event in split(said).events if event.data != DONE]
        assert all(isinstance(json.loads(document), dict) for document in found)
