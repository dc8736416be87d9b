import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import AnswerNotEditable
from proxy.wire.edits import EventEdits
from proxy.wire.sse import split


class Upper:
    """Puts the text in capitals, drops events that say `drop`, doubles those that say `twice`, and ends with a tail."""

    def __init__(self, tail: bool = False) -> None:
        self.tail = tail

    def edit(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        if document.get("text") == "drop":
            return []
        if document.get("text") == "twice":
            return [document, {"text": "again"}]
        if isinstance(document.get("text"), str):
            document["text"] = document["text"].upper()
        return [document]

    def end(self) -> list[dict[str, Any]]:
        return [{"text": "tail"}] if self.tail else []


def run(chunks: list[bytes], tail: bool = False) -> bytes:
    edits = EventEdits(Upper(tail))
    return b"".join([edits.feed(chunk) for chunk in chunks]) + edits.end()


def cut(data: st.DataObject, body: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
TEXTS = st.sampled_from(["a", "\u2028é😀", "", "drop", "twice", "A"])
BLOCKS = st.one_of(
    TEXTS.map(lambda text: [b"data: " + json.dumps({"text": text}, ensure_ascii=False).encode()]),
    TEXTS.map(
        lambda text: [b"event: x", b"id: 1", b"data: " + json.dumps({"text": text, "type": "x"}).encode(), b": c"]
    ),
    st.sampled_from(
        [
            [b": comment"],
            [b"data: {}"],
            [b'data: {"text":', b'data: "b"}'],
            [b'data: {"error": {"text": "a"}}'],
            [b"data: no"],
        ]
    ),
)


@given(st.data(), st.lists(st.tuples(BLOCKS, ENDS), max_size=8), st.booleans(), st.booleans())
def test_any_chunking_gives_the_events_of_the_whole(data, blocks, tail, done):
    body = b"".join(b"".join(line + end for line in lines) + end for lines, end in blocks)
    body += b"data: [DONE]\n\n" if done else b""
    whole = run([body], tail)
    assert split(run(cut(data, body), tail)).events == split(whole).events


@given(st.data(), st.lists(st.tuples(BLOCKS, ENDS), max_size=8))
def test_what_is_not_changed_passes_byte_for_byte(data, blocks):
    body = b"".join(b"".join(line + end for line in lines) + end for lines, end in blocks)

    class Keep:
        def edit(self, document):
            return [document]

        def end(self):
            return []

    edits = EventEdits(Keep())
    assert b"".join([edits.feed(chunk) for chunk in cut(data, body)]) + edits.end() == body
    assert edits.changes == []


def test_a_changed_event_keeps_its_other_lines_and_line_ends():
    body = b'\xef\xbb\xbfevent: x\r\nid: 7\r\ndata: {"text":\r\n: c\r\ndata: "a"}\r\n\r\n'
    assert run([body]) == b'\xef\xbb\xbfevent: x\r\nid: 7\r\ndata: {"text":"A"}\r\n: c\r\n\r\n'


def test_a_first_line_with_a_byte_order_mark_is_a_data_line():
    assert run([b'\xef\xbb\xbfdata: {"text": "a"}\n\n']) == b'data: {"text":"A"}\n\n'


def test_numbers_that_are_not_touched_stay_as_they_are_written():
    assert run([b'data: {"text": "a", "n": 1.50, "big": 18446744073709551616}\n\n']) == (
        b'data: {"text":"A","n":1.50,"big":18446744073709551616}\n\n'
    )


def test_new_events_have_the_names_and_line_ends_of_their_neighbors():
    body = b'event: x\r\ndata: {"text": "twice", "type": "x"}\r\n\r\n'
    assert run([body], tail=True) == (
        b'event: x\r\ndata: {"text": "twice", "type": "x"}\r\n\r\n'
        b'event: \r\ndata: {"text":"again"}\r\n\r\nevent: \r\ndata: {"text":"tail"}\r\n\r\n'
    )


@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b""])
def test_what_was_held_back_comes_once_before_the_end(end):
    assert (
        run([b'data: {"text": "A"}\n\n', end], tail=True) == b'data: {"text": "A"}\n\ndata: {"text":"tail"}\n\n' + end
    )


def test_a_stream_that_is_cut_keeps_what_came_of_its_last_event():
    assert run([b'data: {"text": "a"}\n\ndata: {"te']) == b'data: {"text":"A"}\n\ndata: {"te'


def test_an_event_that_cannot_be_written_again_is_refused_only_where_it_would_change():
    assert run([b'data: {"a": NaN, "a": 1}\n\n']) == b'data: {"a": NaN, "a": 1}\n\n'
    with pytest.raises(AnswerNotEditable):
        run([b'data: {"text": "a", "a": NaN}\n\n'])


def test_changes_are_told_once_with_the_events_they_happened_to():
    edits = EventEdits(Upper(tail=True), why="loud")
    for text in ("a", "b", "drop", "c", "twice"):
        edits.feed(b'data: {"text": "%s"}\n\n' % text.encode())
    edits.end()
    told = [
        (change.what.field, change.what.before, change.what.after, change.why, change.times) for change in edits.changes
    ]
    assert told[0] == ("text", "a", "A", "loud", 3)
    assert [(field, times) for field, _, _, _, times in told[1:]] == [("event", 2), ("event", 1)]
