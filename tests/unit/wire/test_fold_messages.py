from typing import Any

import pytest

from proxy.wire.fold_messages import fold, unfold

START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1, "service_tier": "standard", "cache": None},
        "unknown": 1,
    },
}
STOP = {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 9, "input_tokens": None}}  # fmt: skip
END = {"type": "message_stop"}


def block(index, start, *deltas):
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def told(*blocks):
    return [START, *(event for events in blocks for event in events), STOP, END]


def written(*parts):
    return [{"type": "input_json_delta", "partial_json": part} for part in parts]


TEXT = {"type": "text", "text": ""}
TOOL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (block(0, TEXT, {"type": "text_delta", "text": "a"}, {"type": "text_delta", "text": "b"}),
         {"type": "text", "text": "ab"}),
        (block(0, {**TEXT, "citations": []}, {"type": "citations_delta", "citation": {"n": 1}},
               {"type": "citations_delta", "citation": {"n": 2}}),
         {**TEXT, "citations": [{"n": 1}, {"n": 2}]}),
        (block(0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "t"},
               {"type": "signature_delta", "signature": "s"}),
         {"type": "thinking", "thinking": "t", "signature": "s"}),
        (block(0, TOOL, *written("", '{"a": [1', ',{"b": 2}]}')), {**TOOL, "input": {"a": [1, {"b": 2}]}}),
        (block(0, TOOL), TOOL),
        (block(0, TOOL, *written("")), TOOL),
        (block(0, {"type": "redacted_thinking", "data": "x"}), {"type": "redacted_thinking", "data": "x"}),
    ],
)  # fmt: skip
def test_deltas_fill_a_block(events, expected):
    assert fold(told(events))["content"] == [expected]


def test_the_end_of_a_stream_completes_the_message():
    ping: dict[str, Any] = {"type": "ping"}
    whole = fold([ping, *told(block(0, TEXT), block(1, TOOL)), ping])
    assert [item["type"] for item in whole["content"]] == ["text", "tool_use"]
    assert (whole["stop_reason"], whole["stop_sequence"], whole["unknown"]) == ("tool_use", None, 1)
    assert whole["usage"] == {"input_tokens": 3, "output_tokens": 9, "service_tier": "standard", "cache": None}


def test_a_stream_may_have_several_message_deltas():
    more = {"type": "message_delta", "delta": {}}
    assert fold([START, STOP, more, END])["usage"]["output_tokens"] == 9


def changed(event, **fields):
    return {**event, **fields}


MESSAGE: dict[str, Any] = START["message"]
LOSSY: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "no end": [START, STOP],
    "no reason": [START, END],
    "no start": [STOP, END],
    "two starts": [START, START, STOP, END],
    "an event nobody knows": [START, {"type": "other"}, STOP, END],
    "an error": [START, STOP, {"type": "error"}, END],
    "a field nobody knows": [START, changed(STOP, context_management={}), END],
    "a block after the reason": [START, STOP, *block(0, TEXT), END],
    "no message": [changed(START, message=None), STOP, END],
    "no usage": [changed(START, message={**MESSAGE, "usage": None}), STOP, END],
    "content at the start": [changed(START, message={**MESSAGE, "content": [TEXT]}), STOP, END],
    "no delta of the message": [START, changed(STOP, delta=None), END],
    "two reasons": [START, STOP, changed(STOP, delta={"stop_reason": "end_turn"}), END],
    "a block that does not stop": told(block(0, TEXT)[:-1]),
    "a delta before its block": told(block(0, TEXT, {"type": "text_delta", "text": "a"})[1:]),
    "two blocks at once": told(block(0, TEXT)[:-1], block(0, TEXT)),
    "blocks out of order": told(block(1, TEXT)),
    "a block that is no object": told(block(0, "x")),
    "a delta that is no object": told(block(0, TEXT, "x")),
    "a delta nobody knows": told(block(0, TEXT, {"type": "other_delta", "other": 1})),
    "a delta with a field nobody knows": told(block(0, TEXT, {"type": "text_delta", "text": "a", "x": 1})),
    "a delta without a name": told(block(0, TEXT, {"type": "other", "": 1})),
    "a citation with a field nobody knows": told(block(0, TEXT, {"type": "citations_delta", "citation": 1, "x": 1})),
    "a text that is none": told(block(0, TEXT, {"type": "text_delta", "text": 1})),
    "an input that is cut": told(block(0, TOOL, *written('{"a"'))),
    "an input that is not exact": told(block(0, TOOL, *written('{"a":1,"a":2}'))),
    "an input in a block that has none": told(block(0, TEXT, *written("{}"))),
    "a field with the name of pieces": told(block(0, {**TOOL, "partial_json": ""})),
}


@pytest.mark.parametrize("events", LOSSY.values(), ids=LOSSY)
def test_what_a_message_could_not_hold_is_refused(events):
    with pytest.raises(ValueError, match=r"."):
        fold(events)


def test_a_message_becomes_events_that_a_client_knows():
    tool = {**TOOL, "input": {"a": 1.5}}
    whole = {**MESSAGE, "content": [{"type": "text", "text": "hi"}, tool], "stop_reason": "tool_use"}
    events = unfold(whole)
    assert [event["type"] for event in events] == [
        "message_start",
        *["content_block_start", "content_block_delta", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["output_tokens"] == 0
    assert (events[0]["message"]["content"], events[0]["message"]["stop_reason"]) == ([], None)
    assert events[1]["content_block"] == TEXT
    assert events[5]["delta"] == {"type": "input_json_delta", "partial_json": '{"a":1.5}'}
    assert events[-2]["usage"] == {"output_tokens": 1}
    assert fold(events) == whole


@pytest.mark.parametrize("message", [{}, {"usage": {}}, {"usage": {}, "content": "x"}, {"content": []}])
def test_a_message_without_blocks_or_usage_is_no_stream(message):
    with pytest.raises(ValueError, match=r"."):
        unfold(message)
