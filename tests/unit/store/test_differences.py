import orjson
import pytest

from proxy.store.differences import Difference, body_differences, map_differences


def differing(asked: str, stored: str) -> list[tuple[str, str | None, str | None]]:
    return [(item.field, item.asked, item.stored) for item in body_differences(asked.encode(), stored.encode())]


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ('{"a": 1}', '{"a": 1}', []),
        ('{"a": 1}', '{"a": 2}', [("a", "1", "2")]),
        ('{"a": 1.0}', '{"a": 1}', [("a", "1.0", "1")]),
        ('{"a": true}', '{"a": 1}', [("a", "true", "1")]),
        ('{"a": null}', "{}", [("a", "null", None)]),
        ("{}", '{"a": {"b": 1}}', [("a", None, '{"b":1}')]),
        ('{"a": [1, 2]}', '{"a": [1]}', [("a[1]", "2", None)]),
        ('{"a": [1]}', '{"a": [1, 2]}', [("a[1]", None, "2")]),
        ('{"a": [1]}', '{"a": {"b": 1}}', [("a", "[1]", '{"b":1}')]),
        ('{"a b": {"c": 1}}', '{"a b": {"c": 2}}', [('["a b"].c', "1", "2")]),
        ('{"s": {"x": 1, "y": 2}}', '{"s": {"y": 2, "x": 1}}', [("s (order)", '["x","y"]', '["y","x"]')]),
        (
            '{"tools": [{"function": {"name": "f"}}], "seed": 1}',
            '{"tools": [{"function": {"name": "g"}}]}',
            [("tools[0].function.name", '"f"', '"g"'), ("seed", "1", None)],
        ),
    ],
)
def test_every_field_that_differs_is_named(asked, stored, expected) -> None:
    assert differing(asked, stored) == expected


def test_as_deep_as_a_body_can_be() -> None:
    depth = 240
    one, other = ("[" * depth + value + "]" * depth for value in "12")
    assert differing(f'{{"a": {one}}}', f'{{"a": {other}}}') == [("a" + "[0]" * depth, "1", "2")]


def test_long_values_are_cut_to_where_they_differ() -> None:
    asked, stored = "x" * 500 + "left" + "y" * 500, "x" * 500 + "right"
    [found] = body_differences(orjson.dumps({"a": asked}), orjson.dumps({"a": stored}))
    shown = found.shown()
    assert shown.asked is not None
    assert shown.stored is not None
    assert len(shown.asked) < 110
    assert "left" in shown.asked
    assert shown.asked.startswith("…")
    assert shown.asked.endswith("…")
    assert shown.stored == "…" + "x" * 20 + 'right"'
    assert Difference("a", "z" * 300, None).shown().asked == "z" * 100 + "…"
    assert Difference("a", "1", None).shown() == ("a", "1", None)


def test_maps_of_texts() -> None:
    assert map_differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"}, "headers.") == [
        ("headers.a", '"1"', None),
        ("headers.b", '"2"', '"3"'),
        ("headers.c", None, '"4"'),
    ]


def test_it_reads_as_words() -> None:
    assert str(Difference("seed", "7", None)) == "seed (asked 7, stored absent)"
