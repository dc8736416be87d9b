import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import routes
from proxy.wire.complete import is_complete
from proxy.wire.done import AddDone, with_done

DONE = b"data: [DONE]\n\n"


def event(choices, **fields):
    return b"data: " + json.dumps({"choices": choices, **fields}, ensure_ascii=False).encode() + b"\n\n"


def piece(index=0, text="x", finish=None):
    return {"index": index, "delta": {"content": text}, "finish_reason": finish}


WHOLE = (
    event([piece(text="\u2028é")]) + b": comment\r\n\r\n" + event([piece(finish="stop")]) + event([], usage={"a": 1})
)


def fed(*chunks):
    added = AddDone("why")
    return b"".join(added.feed(chunk) for chunk in chunks) + added.end(), added


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_it_is_added_to_a_whole_stream_however_it_is_cut(places):
    places = [0, *sorted(places), len(WHOLE)]

    body, added = fed(*(WHOLE[start:end] for start, end in pairwise(places)))

    assert body == WHOLE + DONE
    [change] = added.changes
    assert (change.what.field, change.what.after, change.why) == ("event", "[DONE]", "why")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(WHOLE + DONE, id="it is there"),
        pytest.param(event([piece()]), id="not finished"),
        pytest.param(event([piece(0, finish="stop")]) + event([piece(1)]), id="one choice not finished"),
        pytest.param(WHOLE + b'data: {"choices": [', id="cut in an event"),
        pytest.param(WHOLE + event([], error={"message": "no"}), id="an error"),
        pytest.param(WHOLE + b'data: {"error": "no"}\n\n', id="an error without choices"),
        pytest.param(WHOLE + b"data: nonsense\n\n", id="nothing that can be read"),
        pytest.param(event(["odd", {"finish_reason": "stop"}]), id="no choices"),
        pytest.param(event(None) + b"data: {}\n\n", id="no list of choices"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_it_is_not_added(stream):
    body, added = fed(stream)

    assert body == stream
    assert added.changes == []


def test_what_comes_after_the_finish_reason_does_not_open_a_choice_again():
    body, _ = fed(event([piece(finish="stop")]) + event([piece(text="")]))

    assert body.endswith(DONE)


def test_events_without_choices_do_not_matter():
    body, _ = fed(b"data: {}\n\n" + WHOLE + b"data: {}\n\n")

    assert body.endswith(b"data: {}\n\n" + DONE)


@pytest.mark.parametrize("end", [b"", DONE])
def test_a_stream_is_complete_with_it(end):
    assert with_done(WHOLE + end) == WHOLE + DONE
    assert is_complete(routes.CHAT, {}, with_done(WHOLE + end), streamed=True)


@pytest.mark.parametrize("stream", [b"", event([piece()]), WHOLE + b'data: {"a": 1}\n', WHOLE[:-1]])
def test_one_that_is_not_whole_is_not(stream):
    assert not is_complete(routes.CHAT, {}, with_done(stream), streamed=True)
