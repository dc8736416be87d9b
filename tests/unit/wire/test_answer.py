import json

import pytest

from proxy.wire.answer import Answer, Shared
from proxy.wire.fold_choices import CHAT, COMPLETIONS
from proxy.wire.sse import Event, Parser, split


def test_what_is_no_json_object_is_left_out():
    stream = Answer(b'data: {"a": 1}\n\ndata: 5\n\ndata: [DONE]\n\ndata: {"b": 2}\n\n', streamed=True)
    assert stream.parsed == [{"a": 1}, 5, None, {"b": 2}]
    assert stream.objects == [{"a": 1}, {"b": 2}]
    assert Answer(b'{"a": 1}', streamed=False).objects == [{"a": 1}]
    assert Answer(b"not JSON", streamed=False).parsed == [None]


def test_it_is_parsed_once_for_all():
    shared = Shared()
    body = json.dumps({"a": 1}).encode()
    first = shared.answer(body, streamed=False)
    assert shared.answer(bytes(bytearray(body)), streamed=False) is first
    assert first.parsed is first.parsed
    assert shared.answer(body, streamed=True) is not first
    assert shared.answer(b"{}", streamed=False).objects == [{}]


def test_what_it_tells_of_its_choices_is_told_once_for_each_form():
    answer = Answer(b'data: {"choices": [{"text": "x"}]}\n\ndata: [DONE]\n\n', streamed=True)
    assert answer.told(CHAT) is answer.told(CHAT)
    assert (answer.told(CHAT).said, answer.told(COMPLETIONS).said, answer.told(CHAT).sound) == (set(), {0}, True)


@pytest.mark.parametrize("end", [b"", b"data: 1", b"event: error\ndata: 1\n\n"])
def test_a_stream_that_was_cut_or_has_an_error_is_broken(end):
    answer = Answer(b"data: 0\n\n" + end, streamed=True)
    assert (answer.is_broken, answer.data[:1]) == (bool(end), [b"0"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data: 1\n\ndata: 2\n\n",
        b"data: 1\n\ndata: 2",
        b"data: 1\n\ndata: 2\n",
        b"data: 1\n\n\ndata: 2\n\n",
        b"data: 1\ndata: 2\n\n",
        b"data:1\n\n",
        b"data: \n\ndata:  x\n\n",
        b"event: error\ndata: 1\n\n",
        b": comment\n\ndata: 1\n\n",
        b"\xef\xbb\xbfdata: 1\n\n",
        b"data: 1\r\n\r\ndata: 2\r\n\r\n",
        b"data: a\rb\n\n",
        b"\n\ndata: 1\n\n",
    ],
)
def test_a_whole_stream_is_split_as_the_parser_splits_it(body):
    parser = Parser()
    assert split(body) == (parser.feed(body), parser.pending)


def test_an_ordinary_stream():
    assert split(b"data: 1\n\ndata: [DONE]\n\n") == ([Event("", b"1"), Event("", b"[DONE]")], False)
