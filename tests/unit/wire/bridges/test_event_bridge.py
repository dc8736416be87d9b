import hashlib

import pytest

from proxy.core.errors import AnswerNotEditable
from proxy.wire.bridges.event_bridge import EventBridge, data_event, lossy, read, with_losses


class Echo:
    """Puts each event into an object, and loses what it is told to."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def event(self, document):
        self.lost += document.get("lost", [])
        return data_event({"was": document})

    def end(self, done):
        return b"data: {}\n\n" + done


def bridge(strict=False):
    return EventBridge(Echo(), bridge="a_bridge", why="a as b", strict=strict)


def test_comments_pass_and_the_end_comes_once():
    made = bridge()
    assert made.feed(b": ping\r\n\r\ndata: {}\r\n\r\n") == b': ping\r\n\r\ndata: {"was":{}}\n\n'
    assert made.feed(b"data: [DONE]\n\n: late\n\n") == b"data: {}\n\ndata: [DONE]\n\n: late\n\n"
    assert made.end() == b""


def test_a_stream_without_done_ends_all_the_same_and_a_cut_event_is_none():
    made = bridge()
    assert made.feed(b'data: {"a":') == b""
    assert made.end() == b"data: {}\n\n"


def test_the_ledger_gets_one_entry_with_both_hashes_and_what_was_lost():
    made, given = bridge(), b'data: {"lost": ["x"]}\n\n'
    out = made.feed(given) + made.end()
    [change] = made.changes
    assert change.what.path == ()
    assert (change.what.before, change.what.after) == tuple(
        f"sha256:{hashlib.sha256(body).hexdigest()}" for body in (given, out)
    )
    assert (change.why, change.times) == ("a as b; not carried: x", 1)


def test_strict_loses_nothing():
    with pytest.raises(AnswerNotEditable, match=r"'a_bridge' has no place for x of the answer, and strict is set"):
        bridge(strict=True).feed(b'data: {"lost": ["x"]}\n\n')
    assert bridge(strict=True).feed(b"data: {}\n\n")


@pytest.mark.parametrize("data", [b"no", b"[]", b'{"a": NaN}', b'{"a": 1, "a": 2}', b""])
def test_an_event_has_to_be_an_object_that_every_parser_reads_the_same(data):
    with pytest.raises(AnswerNotEditable, match="an event of the model server's stream"):
        read(data)


def test_reasons_and_errors_name_the_fields():
    assert with_losses("a as b", []) == "a as b"
    assert "x, y of the answer" in lossy("a_bridge", ["x", "y"]).message
