import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import document
from proxy.core.document import FloatLiteral, encode, parse
from proxy.core.errors import NotEditable
from proxy.core.http import Payload

NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "-0.0",
        "1.50",
        "1e400",
        "-1E+5",
        "0.1e-400",
        "18446744073709551616",
        "-9223372036854775809",
        "1" * 4301,
    ]
) | st.integers().map(str)
STRINGS = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = (
    NUMBERS
    | st.sampled_from(["true", "false", "null"])
    | STRINGS.map(json.dumps)
    | STRINGS.map(lambda text: json.dumps(text, ensure_ascii=False))
)


def arrays(children):
    return st.lists(children, max_size=4).map(lambda items: "[" + " , ".join(items) + "]")


def objects(children):
    return st.dictionaries(STRINGS, children, max_size=4).map(
        lambda items: "{" + ",".join(f"{json.dumps(name)}: {value}" for name, value in items.items()) + "}"
    )


VALUES = st.recursive(SCALARS, lambda children: arrays(children) | objects(children), max_leaves=12)
OBJECTS = objects(VALUES)


def literal(text):
    """The document with every number as the text it was written with, in order: what an edit must not change."""
    return json.loads(
        text,
        parse_float=lambda digits: ("number", digits),
        parse_int=lambda digits: ("number", digits),
        object_pairs_hook=lambda pairs: ("object", pairs),
    )


@given(OBJECTS)
def test_an_edit_keeps_every_other_value_exactly(text):
    payload = Payload(text.encode())
    name = "added"
    while name in payload.json:
        name += "_"
    payload.edit()[name] = {"x": 1}
    kind, pairs = literal(payload.raw)
    assert (kind, pairs[:-1]) == literal(text)
    assert pairs[-1] == (name, ("object", [("x", ("number", "1"))]))


@given(OBJECTS)
def test_without_an_edit_the_bytes_stay(text):
    payload = Payload(text.encode())
    assert payload.exact
    assert payload.raw is payload.raw
    assert payload.raw == text.encode()


@given(OBJECTS, st.sampled_from([("utf-8-sig", ""), ("utf-16", ""), ("utf-16-le", ""), ("utf-32", "")]))
def test_other_encodings_are_read_and_not_exact(text, encoding):
    document = parse(text.encode(encoding[0]))
    assert document.value == parse(text.encode()).value
    assert not document.exact


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": NaN}',
        b'{"a": [-Infinity]}',
        b'{"a": 1, "a": 1}',
        b'{"x": {"a": 1, "\\u0061": 2}}',
        b'{"a": "\\ud800"}',
        b'{"a": ["\\udc00x"]}',
        b'{"\\udfff": 1}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xff"}',
        b'{"a": "caf\xe9"}',
        b'\xef\xbb\xbf{"a": 1}',
    ],
)
def test_lenient_json_is_read_but_neither_exact_nor_editable(raw):
    payload = Payload(raw)
    assert payload.json
    assert not payload.exact
    with pytest.raises(NotEditable, match="strict JSON"):
        payload.edit()
    assert payload.raw == raw


@pytest.mark.parametrize("raw", [b'{"a": "\\ud83d\\ude00"}', b'{"\\u00e9": 1, "x": ["\\u0041", null]}'])
def test_escapes_of_whole_characters_are_exact(raw):
    assert parse(raw).exact


@pytest.mark.parametrize(
    "raw", [b"", b" ", b"\xff", b'{"a": "\x01"}', b'{"a": 1} x', b'{"a": 01}', b"{'a': 1}", b"[" * 100_000]
)
def test_what_no_parser_reads_is_a_value_error(raw):
    with pytest.raises(ValueError, match=r"."):
        parse(raw)


def test_an_integer_longer_than_python_converts_is_kept():
    digits = "9" * 5000
    assert encode(parse(f'{{"a":{digits}}}'.encode()).value) == f'{{"a":{digits}}}'.encode()


def test_a_float_literal_is_its_number_and_its_text():
    value = FloatLiteral("1.50")
    assert value == 1.5
    assert encode([value]) == b"[1.50]"


@pytest.mark.parametrize(
    "value",
    [
        {"a": float("nan"), "b": None},
        [[float("inf")]],
        ["\ud800"],
        {"a": object()},
        {"a": object(), "b": 2**64},
        {1: 2},
        [10**5000],
    ],
)
def test_what_json_cannot_carry_is_not_encoded(value):
    with pytest.raises(ValueError, match=r"."):
        encode(value)


@pytest.mark.parametrize("leaf", [b"1", b"1.5", b"18446744073709551616"])
@pytest.mark.parametrize("depth", [300, 900])
def test_what_is_nested_too_deeply_to_write_is_refused_and_never_rewritten(leaf, depth):
    raw = b'{"a":' + b"[" * depth + leaf + b"]" * depth + b"}"

    def edited() -> bytes:
        payload = Payload(raw)
        payload.edit()["b"] = 1
        return payload.raw

    with pytest.raises(NotEditable, match="cannot be written"):
        edited()
    untouched = Payload(raw)
    assert untouched.json
    assert untouched.raw == raw


@pytest.mark.parametrize(
    ("raw", "compact"),
    [
        (b'{"a":1,"b":[true,null,"x\\n",-0.5,9007199254740993]}', True),
        (b'{"a": 1}', False),
        (b'{"a":1.50}', False),
        (b'{"a":-0}', False),
        (b'{"a":18446744073709551616}', False),
        (b'{"a":1e400}', False),
        (b'{"a":1E2}', False),
        (b'{"a":1,"a":2}', False),
        (b'{"a":"\\u00e9"}', False),
        (b'{"a":"\\ud800"}', False),
        (b'{"a":NaN}', False),
        (b'{"a":"\xff"}', False),
        (b'\xef\xbb\xbf{"a":1}', False),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", False),
    ],
)
def test_only_what_would_be_written_the_same_takes_the_short_way(raw, compact):
    assert (document._compact(raw) is not None) is compact
    if compact:
        assert document.encode(document.read(raw).value) == raw
    else:
        assert repr(document.read(raw)) == repr(document.parse(raw))
