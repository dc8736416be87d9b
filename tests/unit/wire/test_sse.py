import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import UpstreamIncomplete
from proxy.wire.sse import Event, Parser, begins_as_events, error_event, split

ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.sampled_from(
    [
        b"",
        b"data: {}",
        b"data:x",
        b"data:  two spaces",
        b"data",
        b"data:",
        b": comment",
        b"event: error",
        b"id: 1",
        b"retry: 5",
        "data: é€😀\u2028\u0085\u2029 \x0b\x0c".encode(),
        b"data: \xef\xbb\xbf",
        b"unknown: x",
    ]
) | st.binary(max_size=6)
STREAMS = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(st.tuples(LINES, ENDS).map(b"".join), max_size=10).map(b"".join),
    st.sampled_from([b"", b"data: cut"]),
).map(b"".join)


@given(st.data(), STREAMS)
def test_any_split_gives_the_events_of_the_whole(data, stream):
    whole = Parser()
    expected = whole.feed(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    parser = Parser()
    events = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        events += parser.feed(stream[start:end])
    assert events == expected
    assert parser.pending == whole.pending


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), min_size=1)), ENDS)
def test_what_is_written_as_data_lines_is_read_back(written, end):
    stream = b"".join(b"".join(b"data: " + line.encode() + end for line in lines) + end for lines in written)
    events, cut = split(stream)
    assert [event.data.decode().split("\n") for event in events] == written
    assert not cut


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_there_with_its_last_byte(end):
    parser = Parser()
    assert parser.feed(b"event: delta" + end + b"data: a" + end + b"data: b" + end) == []
    assert parser.pending
    assert parser.feed(end[:1]) == [Event("delta", b"a\nb")]
    assert not parser.pending
    assert parser.feed(end[1:] + b"data: c\n\n") == [Event("", b"c")]


def test_comments_and_fields_without_data_make_no_event():
    assert split(b": ping\n\nevent: x\n\nid: 3\n\ndata: 1\n\n") == ([Event("", b"1")], False)


def test_a_name_that_is_not_utf8_is_no_reason_to_fail():
    assert split(b"event: \xff\ndata: 1\n\n").events == [Event("\ufffd", b"1")]


def test_one_byte_order_mark_is_skipped_at_the_start_only():
    assert split(b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n").events == [Event("", b"1")]


@pytest.mark.parametrize(
    ("stream", "cut"),
    [
        (b"", False),
        (b"data: 1\n\n", False),
        (b"data: 1\r\r", False),
        (b"data: 1\n\r\n", False),
        (b"data: 1\n", True),
        (b"data: 1\r", True),
        (b"data: 1", True),
        (b"\xef", True),
    ],
)
def test_a_stream_that_ends_inside_an_event_is_cut(stream, cut):
    assert split(stream).cut is cut


OURS = {
    "message": "broke",
    "type": "upstream_error",
    "param": None,
    "code": "upstream_incomplete",
}


@pytest.mark.parametrize(
    ("route", "name", "document"),
    [
        ("chat", "", {"error": OURS}),
        (None, "", {"error": OURS}),
        ("messages", "error", {"type": "error", "error": OURS}),
        (
            "responses",
            "error",
            {"type": "error", "code": "upstream_incomplete", "message": "broke", "param": None, "error": OURS},
        ),
    ],
)
@pytest.mark.parametrize("before", [b"", b"data: {}\n\n", b'data: {"cut', b"event: x\ndata: {}\r"])
def test_a_broken_stream_ends_with_one_whole_error_event(before, route, name, document):
    events, cut = split(before + error_event(UpstreamIncomplete("broke"), route))
    assert not cut
    assert events[-1].name == name
    assert json.loads(events[-1].data) == document
    assert all(event.data != b"[DONE]" for event in events)


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: {}", True),
        (b"\xef\xbb\xbfdata:x", True),
        (b"\r\n\n: comment", True),
        (b"event: x\n", True),
        (b"id:1", True),
        (b"retry: 1", True),
        (b'{"data": 1}', False),
        (b' {"data": 1}', False),
        (b"[1]", False),
        (b"<html>", False),
        (b"error: no", False),
        (b"", None),
        (b"\n", None),
        (b"\xef\xbb", None),
        (b"dat", None),
    ],
)
def test_events_are_told_by_their_beginning(body, events):
    assert begins_as_events(body) is events
