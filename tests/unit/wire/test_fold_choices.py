from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.fold_choices import CHAT, COMPLETIONS, fold, restyle, unfold
from proxy.wire.fold_merge import Lossy

ENVELOPE = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2}


def chunk(*choices, **fields):
    return {**ENVELOPE, "choices": list(choices), **fields}


def said(delta, index=0, **fields):
    return {"index": index, "delta": delta, "finish_reason": None, **fields}


def end(index=0, reason="stop", **fields):
    return said({}, index, **{"finish_reason": reason, **fields})


def pieces(draw, text):
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]


CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": "é"}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]


def in_pieces(draw, index, message, scores):
    """The chunks of one choice, its texts and lists cut anywhere."""
    deltas: list[Any] = [{"role": "assistant", "content": draw(st.sampled_from([None, ""]))}]
    for name in ("reasoning_content", "content"):
        deltas += [{name: part} for part in pieces(draw, message[name])]
    for place, whole in enumerate(message["tool_calls"]):
        arguments = pieces(draw, whole["function"]["arguments"])
        deltas.append({"tool_calls": [{"index": place, **whole, "function": {"name": whole["function"]["name"]}}]})
        deltas += [{"tool_calls": [{"index": place, "function": {"arguments": part}}]} for part in arguments]
    scored = [said({}, index, logprobs={"content": part, "refusal": None}) for part in pieces(draw, scores)]
    said_all = [*(said(delta, index) for delta in deltas), *scored, end(index, "tool_calls")]
    return [chunk(entry) for entry in said_all]


@given(data=st.data())
def test_it_does_not_matter_where_a_stream_was_cut(data):
    message = {
        "role": "assistant",
        "content": "Hello, w\u00f6rld",
        "reasoning_content": "Let me think",
        "tool_calls": CALLS,
    }
    scores = [{"token": str(place), "logprob": -place} for place in range(5)]
    queues = [in_pieces(data.draw, index, message, scores) for index in range(2)]
    chunks = []
    while any(queues):  # the choices' chunks may come in any mixture
        chunks.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    choice = {
        "message": message,
        "logprobs": {"content": scores, "refusal": None},
        "finish_reason": "tool_calls",
    }
    assert fold([*chunks, chunk(usage=USAGE)], CHAT) == {
        **ENVELOPE,
        "object": "chat.completion",
        "choices": [{"index": 0, **choice}, {"index": 1, **choice}],
        "usage": USAGE,
    }


@pytest.mark.parametrize(
    ("deltas", "message"),
    [
        ([{"content": None}, {}], {"content": None}),
        ([{"content": ""}, {"content": None}], {"content": ""}),
        ([{"role": "assistant"}, {"role": "assistant", "refusal": "I "}, {"refusal": "won't"}],
         {"role": "assistant", "refusal": "I won't"}),
        ([{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}],
         {"function_call": {"name": "f", "arguments": "{}"}}),
        ([{"tool_calls": []}], {"tool_calls": []}),
        ([{"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
          {"tool_calls": [{"index": 0, "id": "a", "custom": {"input": "y"}}]}],
         {"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "xy"}}]}),
        ([{"reasoning": "a"}, {"reasoning": "b", "reasoning_details": [{"text": "ab"}]}],
         {"reasoning": "ab", "reasoning_details": [{"text": "ab"}]}),
        ([{"unknown": {"a": 1}}, {"unknown": None}], {"unknown": {"a": 1}}),
    ],
)  # fmt: skip
def test_deltas_make_a_message(deltas, message):
    chunks = [*(chunk(said(delta)) for delta in deltas), chunk(end())]
    [choice] = fold(chunks, CHAT)["choices"]
    assert choice["message"] == message


def test_fields_of_choices_and_chunks_that_nobody_knows_are_kept():
    chunks = [
        chunk(said({"content": "a"}, token_ids=[5]), created=1, x=1, obfuscation="ab", y=None),
        chunk(said({"content": "a"}, token_ids=[5]), created=2, x=1, obfuscation="c"),
        chunk(end(stop_reason=7), created=3, timings={"ms": 1}, y="z"),
    ]
    whole = fold(chunks, CHAT)
    assert (whole["created"], whole["x"], whole["timings"], whole["y"]) == (1, 1, {"ms": 1}, "z")
    assert (whole["choices"][0]["stop_reason"], whole["choices"][0]["token_ids"]) == (7, [5, 5])
    assert "obfuscation" not in whole


def call(index, **fields):
    return said({"tool_calls": [{"index": index, **fields}]})


LOSSY: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "no choice": [chunk(usage=USAGE)],
    "no list of choices": [{**ENVELOPE, "choices": None}],
    "another object": [chunk(end(), object="chat.completion")],
    "two entries for a choice": [chunk(said({"content": "a"}), end())],
    "no index": [chunk({"delta": {}, "finish_reason": "stop"})],
    "no delta": [chunk({"index": 0, "finish_reason": "stop"})],
    "a delta that is no object": [chunk({"index": 0, "delta": "x", "finish_reason": "stop"})],
    "a message beside the delta": [chunk(end(message={"content": "x"}))],
    "a delta after the end": [chunk(end()), chunk(said({"content": "x"}))],
    "two ends": [chunk(end()), chunk(end())],
    "no end": [chunk(said({"content": "x"}))],
    "one choice without an end": [chunk(said({}, 1)), chunk(end(0))],
    "another id": [chunk(said({})), chunk(end(), id="d")],
    "timings in each chunk": [chunk(said({}), timings={"n": 1}), chunk(end(), timings={"n": 2})],
    "usage so far": [chunk(said({}), usage={"n": 1}), chunk(end(), usage={"n": 2})],
    "a field that may be pieces": [chunk(said({"thinking": "ha"})), chunk(said({"thinking": "ha"})), chunk(end())],
    "a choice's field that may be pieces": [chunk(said({}, token_id=5)), chunk(end(token_id=5))],
    "details in pieces": [chunk(said({"reasoning_details": [{}]})), chunk(said({"reasoning_details": [{}]}, 0)),
                          chunk(end())],
    "another role": [chunk(said({"role": "a"})), chunk(said({"role": "b"})), chunk(end())],
    "content that is no text": [chunk(said({"content": ["a"]})), chunk(end())],
    "a missing tool call": [chunk(call(1, id="a")), chunk(end())],
    "a tool call without index": [chunk(said({"tool_calls": [{"id": "a"}]})), chunk(end())],
    "another name": [chunk(call(0, function={"name": "f"})), chunk(call(0, function={"name": "g"})), chunk(end())],
    "logprobs that are no object": [chunk(said({}, logprobs=[1])), chunk(end())],
    "logprobs nobody knows": [chunk(said({}, logprobs={"x": [1]})), chunk(said({}, logprobs={"x": [2]})), chunk(end())],
}  # fmt: skip


@pytest.mark.parametrize("chunks", LOSSY.values(), ids=LOSSY)
def test_what_a_plain_answer_could_not_hold_is_refused(chunks):
    with pytest.raises(Lossy):
        fold(chunks, CHAT)


def text(value, **fields):
    return {**ENVELOPE, "object": "text_completion",
            "choices": [{"index": 0, "text": value, "logprobs": None, "finish_reason": None, **fields}]}  # fmt: skip


def scored(tokens, offsets):
    return {"tokens": tokens, "token_logprobs": [-1] * len(tokens), "top_logprobs": [{}], "text_offset": offsets}


def test_logprobs_of_completions_are_put_together():
    chunks = [
        text("ab", logprobs=scored(["a", "b"], [0, 1])),
        text("c", logprobs=scored(["c"], [2])),
        text("", finish_reason="stop"),
    ]
    [choice] = fold(chunks, COMPLETIONS)["choices"]
    logprobs = {"tokens": ["a", "b", "c"], "token_logprobs": [-1] * 3, "top_logprobs": [{}] * 2}
    assert choice == {
        "index": 0,
        "text": "abc",
        "finish_reason": "stop",
        "logprobs": logprobs | {"text_offset": [0, 1, 2]},
    }


def test_offsets_that_each_chunk_counts_anew_are_refused():
    chunks = [
        text("ab", logprobs=scored(["a", "b"], [0, 1])),
        text("c", logprobs=scored(["c"], [0]), finish_reason="stop"),
    ]
    with pytest.raises(Lossy, match="offsets"):
        fold(chunks, COMPLETIONS)


def test_a_text_that_is_none_is_refused():
    with pytest.raises(Lossy):
        fold([text(None, finish_reason="stop")], COMPLETIONS)


@pytest.mark.parametrize(
    "answer", [{"choices": []}, {"choices": [1]}, {}, {"choices": [{"message": {"tool_calls": 5}}]}]
)
def test_an_answer_without_choices_is_no_stream(answer):
    with pytest.raises(Lossy):
        unfold(answer, CHAT)


def test_what_belongs_to_no_choice_is_in_the_last_chunk():
    choices = [{"index": n, "message": {"content": "x"}, "finish_reason": "stop"} for n in range(2)]
    chunks = unfold({**ENVELOPE, "choices": choices, "usage": USAGE, "timings": {"n": 1}}, CHAT)
    assert [{**item, "choices": None} for item in chunks[:-1]] == [{**ENVELOPE, "choices": None}] * 3
    assert (chunks[-1]["usage"], chunks[-1]["timings"]) == (USAGE, {"n": 1})


def test_usage_moves_to_a_chunk_of_its_own():
    chunks = [chunk(said({"content": "a"})), chunk(end(), usage=USAGE, timings=1)]
    *rest, own = restyle(chunks, usage=True)
    assert own == {**ENVELOPE, "choices": [], "usage": USAGE}
    assert rest == [chunk(said({"content": "a"}), usage=None), chunk(end(), usage=None, timings=1)]
    assert restyle([*rest, own], usage=True) == [*rest, own]


@pytest.mark.parametrize(
    ("last", "own", "left"),
    [
        ({}, {}, {}),
        ({}, {"timings": 1}, {"timings": 1}),
        ({"timings": 1}, {"timings": 1}, {"timings": 1}),
        ({"usage": None}, {"created": 9, "obfuscation": "y"}, {"obfuscation": "y"}),
        ({"obfuscation": "x"}, {"obfuscation": "y"}, {"obfuscation": "x"}),
    ],
)
def test_a_stripped_usage_chunk_leaves_what_else_it_said(last, own, left):
    chunks = [chunk(said({"content": "a"})), chunk(end(), **last), chunk(**own, usage=USAGE)]
    assert restyle(chunks, usage=False) == [chunk(said({"content": "a"})), chunk(end(), **left)]


def test_a_stream_without_usage_stays_as_it_is():
    chunks = [chunk(said({"content": "a"})), chunk(end())]
    assert restyle(chunks, usage=False) == chunks


@pytest.mark.parametrize(
    ("chunks", "usage"),
    [
        ([], True),
        ([chunk(end())], True),
        ([chunk(end(), usage={"n": 1}), chunk(usage={"n": 2})], False),
        ([chunk(end(), timings=1), chunk(usage=USAGE, timings=2)], False),
    ],
)
def test_usage_that_cannot_be_moved_is_refused(chunks, usage):
    with pytest.raises(Lossy):
        restyle(chunks, usage=usage)


def test_a_usage_chunk_with_nothing_before_it_stays_where_it_is():
    assert restyle([chunk(usage=USAGE), chunk(end())], usage=False) == [chunk(), chunk(end())]
