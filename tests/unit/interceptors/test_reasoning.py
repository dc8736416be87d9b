import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.core.errors import AnswerNotEditable
from proxy.interceptors.reasoning import ReasoningConfig
from tests.unit.interceptors.alone import ask, events


def message(content, **fields):
    return {"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": content, **fields}}]}


def delta(content=None, index=0, finish=None, **fields):
    said = {**({} if content is None else {"content": content}), **fields}
    return {"id": "1", "choices": [{"index": index, "delta": said, "finish_reason": finish}]}


async def moved(content, options=None, **fields):
    asked = await ask("reasoning", options, answer=message(content, **fields))
    said = asked.json["choices"][0]["message"]
    return said.get("reasoning_content"), said["content"]


async def streamed(*chunks, options=None, size=1000, **more):
    asked = await ask("reasoning", options, answer=events(*chunks, **more), size=size)
    said: dict[int, list[str]] = {}
    for document in asked.documents:
        for choice in document["choices"]:
            held = said.setdefault(choice["index"], ["", ""])
            held[0] += choice["delta"].get("reasoning_content") or ""
            held[1] += choice["delta"].get("content") or ""
    return {index: tuple(parts) for index, parts in said.items()}


async def test_reasoning_leaves_the_text_and_is_kept():
    asked = await ask("reasoning", answer=message("<think>\nhm\n</think>\n\n42"))
    assert asked.json == message("42", reasoning_content="hm")
    assert asked.changes == [
        ("reasoning", "choices[0].message.content"),
        ("reasoning", "choices[0].message.reasoning_content"),
    ]


async def test_an_answer_without_reasoning_is_untouched():
    asked = await ask("reasoning", {"include_if_not_finished": False}, answer=message("42"))
    assert asked.json == message("42")
    assert asked.changes == []


async def test_a_null_field_does_not_hide_tags_in_the_text():
    assert await moved("<think>hm</think>42", reasoning_content=None) == ("hm", "42")


async def test_tags_beside_reasoning_that_is_told_apart_are_moved_too():
    assert await moved("<think>b</think>42", reasoning_content="a") == ("ab", "42")


async def test_the_newer_name_of_the_field_becomes_the_usual_one():
    asked = await ask("reasoning", answer=message("42", reasoning="hm"))
    assert asked.json == message("42", reasoning_content="hm")


@pytest.mark.parametrize("content", [None, [{"type": "text", "text": "<think>a</think>b"}], ""])
async def test_what_is_not_text_is_left_alone(content):
    assert (await ask("reasoning", answer=message(content))).json == message(content)


async def test_completions_have_it_beside_their_text():
    answer = {"choices": [{"index": 0, "text": "hm</think>42", "finish_reason": "stop"}]}
    asked = await ask("reasoning", answer=answer, route="completions")
    assert asked.json == {"choices": [{"index": 0, "text": "42", "finish_reason": "stop", "reasoning_content": "hm"}]}


async def test_own_tokens():
    options = {"start_reasoning_token": "[[", "end_reasoning_token": "]]"}
    assert await moved("[[hm]]42 <think>", options) == ("hm", "42 <think>")


@pytest.mark.parametrize("finished", [True, False])
async def test_reasoning_may_be_discarded(finished):
    options = {"discard_reasoning": True, "include_if_not_finished": finished}
    assert await moved("<think>hm</think>42", options) == (None, "42")
    assert await streamed(delta("<think>h"), delta("m</think>42"), delta(finish="stop"), options=options) == {
        0: ("", "42")
    }
    assert await moved("<think>hm", options) == (None, "<think>hm" if finished else "")
    assert await moved("42", options, reasoning_content="the server's own") == ("the server's own", "42")


async def test_unfinished_reasoning_stays_or_leaves():
    assert await moved("<think>hm") == (None, "<think>hm")
    assert await moved("<think>hm", {"include_if_not_finished": False}) == ("hm", "")


async def test_errors_and_other_answers_are_left_alone():
    answer = {"error": {"message": "no"}, "choices": [{"message": {"content": "a</think>b"}}]}
    assert (await ask("reasoning", answer=answer)).json == answer
    assert (await ask("reasoning", answer=message("a</think>b"), status=400)).json == message("a</think>b")
    assert (await ask("reasoning", answer=[1])).json == [1]


TEXTS = st.lists(st.sampled_from(["<think>", "</think>", "\n", "a", "\u2028", "é", ""]), max_size=8)


@given(TEXTS, st.integers(1, 40), st.booleans(), st.booleans())
async def test_a_stream_says_what_the_plain_answer_says(pieces, size, keep, require):
    options = {"include_if_not_finished": keep, "require_start_token": require}
    plain = await moved("".join(pieces), options)
    chunks = [delta(role="assistant"), *map(delta, pieces), delta(finish="stop")]
    assert await streamed(*chunks, options=options, size=size) == {0: (plain[0] or "", plain[1])}


async def test_each_choice_of_a_stream_is_its_own():
    chunks = [
        delta("<think>a"),
        delta("b", 1),
        delta("</think>c"),
        delta("</think>d", 1),
        delta(index=1, finish="stop"),
    ]
    assert await streamed(*chunks, delta(finish="stop")) == {0: ("a", "c"), 1: ("b", "d")}


@pytest.mark.parametrize("done", [True, False])
async def test_a_choice_that_never_finishes_loses_nothing(done):
    assert await streamed(delta("abc"), done=done) == {0: ("", "abc")}


async def test_usage_is_told_once_where_a_choice_never_finishes():
    told = {"id": "1", "choices": [], "usage": {"total_tokens": 3}}
    asked = await ask("reasoning", answer=events(delta("4"), delta("2"), told))
    assert [document.get("usage") for document in asked.documents] == [None, None, {"total_tokens": 3}, None]
    assert asked.documents[-1]["choices"][0]["delta"] == {"content": "42"}


async def test_usage_and_comments_of_a_stream_pass_as_they_are():
    body = b': ping\n\ndata: {"choices": [], "usage": {"n": 1.50}}\n\ndata: [DONE]\n\n'
    assert (await ask("reasoning", answer=body)).body == body


async def test_reasoning_goes_back_into_the_text():
    options = {"migrate_reasoning_content": True}
    assert await moved("42", options, reasoning_content="hm") == ("hm", "<think>hm</think>42")
    assert await moved(None, options, reasoning="hm") == (None, "<think>hm</think>")
    assert await moved("42", options) == (None, "42")


async def test_reasoning_goes_back_into_the_text_of_a_stream():
    options = {"migrate_reasoning_content": True}
    chunks = [delta(reasoning_content="h"), delta(reasoning_content="m"), delta(""), delta("4"), delta("2")]
    assert await streamed(*chunks, delta(finish="stop"), options=options) == {0: ("hm", "<think>hm</think>42")}
    assert await streamed(delta(reasoning_content="h"), delta(finish="length"), options=options) == {
        0: ("h", "<think>h</think>")
    }


async def test_it_may_be_told_to_leave_everything():
    asked = await ask("reasoning", {"add_reasoning": False}, answer=message("<think>a</think>b"))
    assert asked.json == message("<think>a</think>b")


async def test_a_compressed_stream_is_changed_too():
    body = gzip.compress(events(delta("<think>a</think>b"), delta(finish="stop")))
    asked = await ask("reasoning", answer=body, headers=[(b"content-encoding", b"gzip")], size=7)
    assert asked.documents[0]["choices"][0]["delta"] == {"content": "b", "reasoning_content": "a"}
    assert all(name != b"content-encoding" for name, _ in asked.response.headers)


@pytest.mark.parametrize("body", [gzip.compress(events(delta("a")), mtime=0)[:-9], b"no gzip at all"])
async def test_a_damaged_stream_is_an_error(body):
    with pytest.raises(AnswerNotEditable):
        await ask("reasoning", answer=body, headers=[(b"content-encoding", b"gzip")])


async def test_an_encoding_that_nobody_knows_is_an_error():
    with pytest.raises(AnswerNotEditable, match="'br'"):
        await ask("reasoning", answer=events(), headers=[(b"content-encoding", b"br")])


@pytest.mark.parametrize(
    "options",
    [
        {"add_reasoning": True, "migrate_reasoning_content": True},
        {"discard_reasoning": True, "migrate_reasoning_content": True},
        {"discard_reasoning": True, "add_reasoning": False},
        {"start_reasoning_token": None, "migrate_reasoning_content": True},
        {"start_reasoning_token": None, "require_start_token": True},
        {"start_reasoning_token": ""},
        {"routes": ["embeddings"]},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValidationError):
        ReasoningConfig.model_validate(options)
