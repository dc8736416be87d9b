from typing import Any

import pytest

from proxy.wire.fold_merge import Lossy
from proxy.wire.fold_responses import fold, unfold

PART = {"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}
SAID = {"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [PART]}
CALLED = {"type": "function_call", "id": "f", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}
CUSTOM = {"type": "custom_tool_call", "id": "k", "call_id": "c", "name": "f", "input": "x"}
THOUGHT = {
    "type": "reasoning",
    "id": "t",
    "summary": [{"type": "summary_text", "text": "s"}],
    "content": [{"type": "reasoning_text", "text": "r"}],
    "encrypted_content": None,
}
WHOLE: dict[str, Any] = {
    "id": "r",
    "object": "response",
    "status": "completed",
    "completed_at": 5,
    "output": [THOUGHT, SAID, CALLED, CUSTOM],
    "usage": {"total_tokens": 3},
    "unknown": {"a": 1},
}


def test_a_response_becomes_events_that_a_client_knows():
    events = unfold(WHOLE)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    begun = events[0]["response"]
    assert (begun["status"], begun["output"], begun["usage"], begun["completed_at"]) == ("in_progress", [], None, None)
    assert events[2]["item"] == {**THOUGHT, "summary": [], "content": []}
    assert events[12]["item"] == {**SAID, "status": "in_progress", "content": []}
    assert events[14]["delta"] == "hi"
    assert events[18]["item"] == {**CALLED, "status": "in_progress", "arguments": ""}
    assert fold(events) == WHOLE


@pytest.mark.parametrize(
    "response",
    [
        {},
        {**WHOLE, "status": "failed"},
        {**WHOLE, "output": None},
        {**WHOLE, "output": [{"type": "message", "content": "x"}]},
        {**WHOLE, "output": [{"type": "message", "content": [{"type": "other", "text": "x"}]}]},
        {**WHOLE, "output": [{"type": "message", "content": [{"type": "output_text"}]}]},
    ],
)
def test_a_response_of_which_no_events_are_known_is_refused(response):
    with pytest.raises(Lossy):
        unfold(response)


def stream(*steps, **fields):
    response = {"id": "r", "status": "completed", "output": [SAID], "usage": {}, **fields}
    return [*steps, {"type": "response.completed", "response": response}]


CREATED = {"type": "response.created", "response": {"id": "r"}}
ADDED = {"type": "response.output_item.added", "item": {}}
DONE = {"type": "response.output_item.done", "item": SAID}
SCORED = {**SAID, "content": [{**PART, "logprobs": [{"token": "hi"}]}, {"type": "refusal", "refusal": "no"}]}
DELTA = {"type": "response.output_text.delta", "delta": "hi", "logprobs": [{"token": "hi"}]}


def test_the_last_event_has_the_response():
    assert fold(stream(CREATED, ADDED, DONE))["output"] == [SAID]


def test_logprobs_may_be_in_the_events_if_the_response_has_them_too():
    scored = {"type": "response.output_item.done", "item": SCORED}
    assert fold(stream(CREATED, ADDED, DELTA, scored, output=[SCORED]))["output"] == [SCORED]


LOSSY: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "no end": [CREATED],
    "two ends": stream(*stream(ADDED, DONE)),
    "an event nobody knows": stream({"type": "response.other"}, ADDED, DONE),
    "a failure": [{"type": "response.failed", "response": {}}],
    "a field nobody knows": stream(ADDED, {**DONE, "timings": 1}),
    "no response at the end": [{"type": "response.completed"}],
    "a response that is none": [{"type": "response.completed", "response": []}],
    "a response before the end that is none": stream({"type": "response.created", "response": None}, ADDED, DONE),
    "a field that is gone at the end": stream({**CREATED, "response": {"seed": 1}}, ADDED, DONE),
    "an item that is gone at the end": stream(ADDED, DONE, output=[]),
    "an item without an end": stream(ADDED, output=[]),
    "an item without events": stream(),
    "another item": stream(ADDED, {**DONE, "item": {**SAID, "id": "n"}}),
    "an output that is none": stream(output=None),
    "logprobs that only the events have": stream(ADDED, DELTA, DONE),
}


@pytest.mark.parametrize("events", LOSSY.values(), ids=LOSSY)
def test_what_only_the_events_say_is_not_lost(events):
    with pytest.raises(Lossy):
        fold(events)
