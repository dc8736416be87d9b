import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.wire import skim
from proxy.wire.skim import Choice, Document, Said, document

NAMES = [*Document.__struct_fields__, *Choice.__struct_fields__, *Said.__struct_fields__, "logprobs"]
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=4),
    max_leaves=20,
)


def in_full(data):
    """Read everything, as the skimming does where it cannot go on."""
    return skim._odd(data)


@given(VALUES | st.fixed_dictionaries({"choices": st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES))}))
@example({"choices": [{"index": 0, "delta": {"tool_calls": [1], "x": 2}}, {"message": None, "index": None}]})
@example({"choices": [5, {"delta": "text", "message": []}]})
@example({"choices": {"index": 0}, "usage": {"a": 1}})
def test_skimmed_and_read_in_full_it_is_the_same(value):
    data = json.dumps(value).encode()
    assert document(data) == in_full(data)


@given(st.binary(max_size=8), st.integers(0, 40))
@example(b"NaN", 6)
@example(b"1e5", 6)
@example(b"\\ud800", 7)
@example(b"\\ud83d\\ude00", 7)
@example(b"\n", 7)
@example(b"\0", 40)
def test_what_is_passed_over_has_to_be_json(inserted, place):
    whole = b'{"x": "text", "y": [1, -2.5e3, null, true]}'
    data = whole[:place] + inserted + whole[place:]
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        assert not skim.is_text(data) or document(data) is None or is_too_large(data)
    else:
        assert document(data) is not None
        assert skim.is_text(data)


def is_too_large(data):
    """JSON takes any number; what needs its value reads it otherwise."""
    return any(number == float("inf") for number in map(abs, json.loads(data)["y"][:2]))


def test_a_number_that_is_too_large_is_read_where_its_value_does_not_count():
    assert document(b'{"x": 1e999}') == Document()
    assert document(b'{"usage": 1e999}') is None


@pytest.mark.parametrize("data", [b"", b"5", b"[]", b"null", b"{", b"\xef\xbb\xbf{}", b'{"x": [' * 5000])
def test_what_is_no_object_is_none(data):
    assert document(data) is None


def test_it_is_text_or_not():
    assert skim.is_text("é😀".encode())
    assert not skim.is_text(b"\xed\xa0\x80")
