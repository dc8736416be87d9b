import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.joining import JoinedStreams, join, joined_usage
from proxy.wire.sse import split

DONE = b"data: [DONE]\n\n"


def answer(*texts: str, completion: int = 2, **usage: Any) -> dict[str, Any]:
    choices = [{"index": index, "text": text} for index, text in enumerate(texts)]
    counted = {"prompt_tokens": 5, "completion_tokens": completion, "total_tokens": 5 + completion, **usage}
    return {"id": "a", "choices": choices, "usage": counted}


class TestPlainAnswers:
    def test_choices_are_numbered_anew_and_usage_is_counted(self):
        first = answer("a")

        join(first, [answer("b", completion=3), answer("c")])

        assert first["choices"] == [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}, {"index": 2, "text": "c"}]
        assert first["usage"] == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}

    def test_choices_of_one_prompt_stand_together(self):
        first = answer("p0 a", "p1 a")

        join(first, [answer("p0 b", "p1 b")])

        assert [choice["text"] for choice in first["choices"]] == ["p0 a", "p0 b", "p1 a", "p1 b"]
        assert [choice["index"] for choice in first["choices"]] == [0, 1, 2, 3]

    def test_without_an_index_the_place_counts(self):
        first = {"choices": [{"text": "a"}]}

        join(first, [{"choices": [{"text": "b"}]}])

        assert first == {"choices": [{"text": "a", "index": 0}, {"text": "b", "index": 1}]}

    def test_usage_that_one_does_not_tell_is_left_as_it_is(self):
        first = answer("a")

        join(first, [{"choices": [{"index": 0}]}])

        assert first["usage"]["completion_tokens"] == 2

    @pytest.mark.parametrize("other", [{}, {"choices": []}, {"choices": ["x"]}, {"choices": {}}])
    def test_one_without_choices_is_refused(self, other):
        with pytest.raises(ValueError, match="no choices"):
            join(answer("a"), [other])


class TestUsage:
    def test_details_of_what_was_generated_are_added_up(self):
        details = {"reasoning_tokens": 3, "audio_tokens": None}
        usages = [{"completion_tokens": 4, "completion_tokens_details": details, "prompt_tokens_details": {"c": 1}}] * 2

        assert joined_usage(usages) == {
            "completion_tokens": 8,
            "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": None},
            "prompt_tokens_details": {"c": 1},
        }

    def test_what_is_not_counted_is_not_added(self):
        assert joined_usage([{"completion_tokens": 1}, {"completion_tokens": None}]) == {"completion_tokens": 1}


def chunk(place: int, text: str = "", finish: str | None = None, **fields: Any) -> bytes:
    document = {
        "id": f"id-{place}", "object": "chat.completion.chunk", "created": 10 + place, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **fields,
    }  # fmt: skip
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\r\n\r\n"


def usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 5, "completion_tokens": completion, "total_tokens": 5 + completion}


def stream(place: int, *, done: bool = True, own_chunk: bool = True) -> bytes:
    counted = {} if own_chunk else {"usage": usage(place + 1)}
    parts = [
        b"\xef\xbb\xbf" if place == 0 else b"",
        chunk(place, "é\u2028"),
        b": a comment\r\n\r\n",
        chunk(place, ""),
        chunk(place, f"text {place}", "stop", **counted),
    ]
    if own_chunk:
        last = {"id": f"id-{place}", "created": 10 + place, "choices": [], "usage": usage(place + 1)}
        parts.append(b"data: " + json.dumps(last).encode() + b"\r\n\r\n")
    return b"".join(parts) + (DONE if done else b"")


def documents(body: bytes) -> list[Any]:
    return [json.loads(event.data) for event in split(body).events if event.data != b"[DONE]"]


def texts(body: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    for document in documents(body):
        for choice in document["choices"]:
            found[choice["index"]] = found.get(choice["index"], "") + choice["delta"]["content"]
    return found


def joined(*pieces: tuple[int, bytes], count: int = 2) -> tuple[bytes, JoinedStreams]:
    streams = JoinedStreams(count, "why")
    body = b"".join(streams.feed(place, piece) for place, piece in pieces)
    return body + b"".join(streams.end(place) for place in range(count)) + streams.finish(), streams


class TestStreams:
    @given(st.data())
    def test_every_chunking_and_order_gives_whole_events(self, data):
        parts = []
        for place in range(3):
            whole = stream(place)
            cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5))), len(whole)]
            parts.append([(place, whole[start:end]) for start, end in pairwise(cuts)])
        turns = data.draw(st.permutations([place for place in range(3) for _ in parts[place]]))
        pieces = [parts[place].pop(0) for place in turns]

        body, streams = joined(*pieces, count=3)

        assert texts(body) == {place: f"é\u2028text {place}" for place in range(3)}
        assert body.endswith(DONE)
        assert body.count(b"[DONE]") == 1
        assert [found["usage"] for found in documents(body) if "usage" in found] == [usage(6)]
        assert len({(found["id"], found["created"]) for found in documents(body)}) == 1
        assert body.count(b": a comment\r\n") == 3
        assert [change.why for change in streams.changes] == ["why"] * len(streams.changes)

    def test_the_first_stream_passes_as_it_is(self):
        body, streams = joined((0, chunk(0, "a")), (1, chunk(1, "b")))

        assert body.startswith(chunk(0, "a"))
        [added] = streams.changes
        assert (added.what.field, added.times) == ("event", 1)
        assert added.what.after["choices"][0]["index"] == 1

    def test_events_of_the_others_are_counted(self):
        _, streams = joined((1, chunk(1, "b") * 3), (0, chunk(0, "a")))

        assert [(change.what.field, change.times) for change in streams.changes] == [
            ("id", 1), ("created", 1), ("event", 3)
        ]  # fmt: skip

    def test_usage_in_the_last_chunk_of_a_choice_is_moved_to_the_last_of_all(self):
        body, _ = joined((0, stream(0, own_chunk=False)), (1, stream(1, own_chunk=False)))

        found = documents(body)
        assert [document.get("usage") for document in found] == [None] * 5 + [usage(3)]

    def test_usage_of_every_chunk_is_that_of_all_so_far(self):
        body, _ = joined((0, chunk(0, "a", usage=usage(1))), (1, chunk(1, "b", usage=usage(2))))

        assert [document["usage"] for document in documents(body)] == [usage(1), usage(3)]

    def test_null_usage_stays(self):
        body, _ = joined((0, chunk(0, "a", usage=None)))

        assert body == chunk(0, "a", usage=None)

    def test_without_done_in_one_there_is_none(self):
        body, _ = joined((0, stream(0)), (1, stream(1, done=False)))

        assert b"[DONE]" not in body

    def test_an_error_passes_and_there_is_no_done(self):
        error = b'data: {"error": {"message": "no"}}\n\n'

        body, _ = joined((0, chunk(0, "a") + error), (1, stream(1)))

        assert error in body
        assert b"[DONE]" not in body

    def test_choices_that_are_none_pass(self):
        odd = b'data: {"choices": null}\n\ndata: {"choices": ["x"]}\n\n'

        assert joined((0, odd))[0] == odd
