import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.difference import ABSENT, Difference, apply, differences, field_name, snapshot
from proxy.core.document import encode, parse

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "a", "é\n"])
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def written(document):
    """The document as it counts: the order of its top level does not."""
    return encode(dict(sorted(document.items())))


@given(OBJECTS, OBJECTS)
def test_differences_turn_one_document_into_the_other(before, after):
    made = snapshot(before)
    apply(made, differences(before, after))
    assert written(made) == written(after)


@given(OBJECTS, st.data())
def test_lists_that_lost_or_gained_elements_too(document, data):
    lists = [value for value in document.values() if isinstance(value, list)]
    before = snapshot(document)
    for items in lists:
        for _ in range(data.draw(st.integers(0, 3))):
            items.insert(data.draw(st.integers(0, len(items))), data.draw(VALUES))
        for _ in range(data.draw(st.integers(0, len(items)))):
            del items[data.draw(st.integers(0, len(items) - 1))]
    made = snapshot(before)
    apply(made, differences(before, document))
    assert written(made) == written(document)


@given(OBJECTS)
def test_a_document_does_not_differ_from_its_snapshot(document):
    assert differences(snapshot(document), document) == []


def test_later_edits_do_not_reach_a_snapshot():
    document = {"a": [{"b": 1}]}
    kept = snapshot(document)
    document["a"][0]["b"] = 2
    assert kept == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ('{"a": 1}', '{"a": 1.0}', [Difference(("a",), 1, 1.0)]),
        ('{"a": true}', '{"a": 1}', [Difference(("a",), True, 1)]),
        ('{"a": []}', '{"a": {}}', [Difference(("a",), [], {})]),
        ('{"a": 1}', "{}", [Difference(("a",), 1, ABSENT)]),
        ("{}", '{"a": null}', [Difference(("a",), ABSENT, None)]),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', []),
        (
            '{"a": {"x": 1, "y": 2}}',
            '{"a": {"y": 2, "x": 1}}',
            [Difference(("a",), ["x", "y"], ["y", "x"], order=True)],
        ),
        ('{"a": [1, 2, 3]}', '{"a": [1, 3]}', [Difference(("a", 1), 2, ABSENT)]),
        ('{"a": [1, 3]}', '{"a": [1, 2, 3]}', [Difference(("a", 1), ABSENT, 2)]),
        ('{"a": [1, 2]}', '{"a": [1, 5]}', [Difference(("a", 1), 2, 5)]),
        ('{"a": [{"b": 1, "c": 2}]}', '{"a": [{"c": 2}]}', [Difference(("a", 0, "b"), 1, ABSENT)]),
    ],
)
def test_each_kind_of_difference(before, after, found):
    told = differences(parse(before.encode()).value, parse(after.encode()).value)
    assert list(map(repr, told)) == list(map(repr, found))


def test_numbers_that_python_cannot_tell_apart_count_as_written():
    found = differences(parse(b'{"a": 0.1}').value, parse(b'{"a": 0.10}').value)
    assert [(item.field, encode(item.before), encode(item.after)) for item in found] == [("a", b"0.1", b"0.10")]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("tools", 0, "function", "name"), "tools[0].function.name"),
        (("a b", "x"), '["a b"].x'),
        (("x", "é"), 'x["\\u00e9"]'),
        (("", 2), '[""][2]'),
    ],
)
def test_a_path_as_text(path, text):
    assert field_name(path) == text


def test_reordered_members_say_so():
    [found] = differences({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}})
    assert found.field == "a (order)"


def test_what_json_cannot_carry_is_not_compared():
    with pytest.raises(ValueError, match="NaN"):
        differences({"a": 1.5}, {"a": float("nan")})


def test_absence_shows_as_itself():
    assert repr(ABSENT) == "ABSENT"
    assert json.dumps(str(differences({"a": 1}, {})[0].after)) == '"ABSENT"'
