from typing import Any

import pytest

from proxy.core.document import parse
from proxy.wire.fold_merge import (
    Lossy,
    alike,
    by_index,
    extended,
    first,
    grouped,
    joined,
    last,
    members,
    merge,
    objects,
    once,
    same,
    without,
)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([{"a": "x"}, {"b": None}, {"a": "y"}], {"a": "xy", "b": None}),
        ([{"a": None}, {"a": "x"}, {"a": None}], {"a": "x"}),
        ([{"a": None}, {"a": None}], {"a": None}),
        ([{"a": ""}, {"a": None}], {"a": ""}),
        ([{"a": "x"}, {"unknown": [1]}], {"a": "x", "unknown": [1]}),
        ([{}], {}),
    ],
)
def test_a_null_says_nothing_beside_a_value(parts, whole):
    assert merge(parts, {"a": joined}, once) == whole


@pytest.mark.parametrize(
    ("rule", "values", "whole"),
    [
        (joined, ["a", "", "b"], "ab"),
        (extended, [[1], [], [None]], [1, None]),
        (first, [1, 2], 1),
        (last, [1, 2], 2),
        (same, [{"a": 1, "b": 2}, {"b": 2, "a": 1}], {"a": 1, "b": 2}),
        (once, [[1]], [1]),
        (members({"a": joined}), [{"a": "x"}, {"b": 1}, {"a": "y"}], {"a": "xy", "b": 1}),
        (
            by_index({"a": joined}),
            [[{"index": 1, "a": "x"}], [{"index": 0, "id": "q"}, {"index": 1, "a": "y"}], []],
            [{"id": "q"}, {"a": "xy"}],
        ),
        (by_index({}), [[]], []),
    ],
)
def test_a_rule_makes_the_whole(rule, values, whole):
    assert rule(values) == whole


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (joined, ["a", 1]),
        (joined, ["a", ["b"]]),
        (extended, [[1], "ab"]),
        (same, [1, True]),
        (once, ["a", "a"]),
        (members({}), [{}, []]),
        (members({}), [{"a": 1}, {"a": 1}]),
        (by_index({}), [[{"index": 1}]]),
        (by_index({}), [[{"index": 0}], [{"index": 2}]]),
        (by_index({}), [[{"index": "0"}]]),
        (by_index({}), [[{"index": True}]]),
        (by_index({}), [[{}]]),
        (by_index({}), [[1]]),
        (by_index({}), ["x"]),
    ],
)
def test_a_rule_does_not_guess(rule, values):
    with pytest.raises(Lossy):
        rule(values)


def test_entries_are_grouped_by_index_lowest_first():
    groups = grouped([{"index": 2, "a": 1}, {"index": 0}, {"index": 2, "a": 2}])
    assert list(groups.items()) == [(0, [{"index": 0}]), (2, [{"index": 2, "a": 1}, {"index": 2, "a": 2}])]


@pytest.mark.parametrize("value", [None, {}, "a", [1], [{}, None]])
def test_only_a_list_of_objects_is_one(value: Any):
    with pytest.raises(Lossy):
        objects(value)


def test_without_leaves_the_document_as_it_is():
    document = {"a": 1, "b": 2, "c": 3}
    assert without(document, "a", "c", "x") == {"b": 2}
    assert len(document) == 3


SAME = [
    (b'{"a":[1,{"b":null}],"c":"x"}', b'{"c":"x","a":[1,{"b":null}]}'),
    (b"[1e400,-0.0,-0,18446744073709551616]", b"[1e400,-0.0,-0,18446744073709551616]"),
]
DIFFERENT = [
    (b"1.0", b"1.00"),
    (b"1e400", b"1e500"),
    (b"1", b"1.0"),
    (b"1", b"true"),
    (b"0", b"-0"),
    (b"[1]", b"[1,2]"),
    (b"[1,2]", b"[2,1]"),
    (b'{"a":1}', b'{"a":1,"b":null}'),
    (b'{"a":"x"}', b'{"a":"y"}'),
    (b"[]", b"{}"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_values_are_alike_whatever_the_order_of_keys(one, other):
    assert alike(parse(one).value, parse(other).value)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_values_written_differently_are_not_alike(one, other):
    assert not alike(parse(one).value, parse(other).value)


def test_depth_does_not_matter():
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert alike(deep, deep)
