import pytest

from harness.client.events import Events

STREAM = 'data: {"a": "x\u2028y"}\n\n: a comment\nevent: e\ndata: 1\ndata: 2\n\nid: 7\n\ndata: [DONE]\n\n'
DATA = ['{"a": "x\u2028y"}', "1\n2", "[DONE]"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_whatever_the_bytes_are_cut_into(end, size):
    raw = STREAM.replace("\n", end).encode()
    events = Events()
    found = [data for start in range(0, len(raw), size) for data in events.feed(raw[start : start + size])]
    if end == "\r":  # the last line's end may be half of one
        found += events.feed(b"\n")
    assert found == DATA
