import pytest

from proxy.wire.paths import check_path, places, put


@pytest.mark.parametrize("path", ["top_k", "chat_template_kwargs.enable_thinking", "messages[].content[].text"])
def test_a_path_is_returned(path):
    assert check_path(path) == path


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "[]", "a[]", "a.[].b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="is not a path"):
        check_path(path)


def test_every_place_where_a_path_exists():
    first, second = {"name": 1}, {"name": None}
    document = {"messages": [first, {}, "text", second], "top": 1}
    assert places(document, "messages[].name") == [(first, "name"), (second, "name")]
    assert places(document, "top") == [(document, "top")]


@pytest.mark.parametrize("path", ["x", "top.x", "messages.x", "top[].x", "none.x"])
def test_no_place_where_it_does_not_exist(path):
    assert places({"messages": [{"x": 1}], "top": 1, "none": None}, path) == []


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({}, "a", {"a": 5}),
        ({}, "a.b.c", {"a": {"b": {"c": 5}}}),
        ({"a": None}, "a.b", {"a": {"b": 5}}),
        ({"a": {"x": 1}}, "a.b", {"a": {"x": 1, "b": 5}}),
        ({"m": [{}, {"b": 1}]}, "m[].b", {"m": [{"b": 5}, {"b": 5}]}),
        ({"m": [{}]}, "m[].k.b", {"m": [{"k": {"b": 5}}]}),
        ({"x": 1}, "m[].b", {"x": 1}),
    ],
)
def test_a_value_is_put_and_objects_on_the_way_are_made(document, path, expected):
    put(document, path, 5)
    assert document == expected


@pytest.mark.parametrize(
    ("document", "path"), [({"a": 1}, "a.b"), ({"a": "x"}, "a.b.c"), ({"m": [{}, "x"]}, "m[].k.b"), ({"a": []}, "a.b")]
)
def test_what_is_in_the_way_is_an_error_and_never_skipped(document, path):
    with pytest.raises(ValueError, match="where an object should be"):
        put(document, path, 5)
