import pytest

from proxy.core.errors import NotCarried
from proxy.wire.bridges.losses import Losses
from proxy.wire.bridges.responses_tools import chat_tool_choice, chat_tools, response_format, text_options

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture
def losses():
    return Losses("a_bridge", "")


def refused(losses) -> str:
    with pytest.raises(NotCarried) as caught:
        losses.converted({})
    return caught.value.message


def test_flat_functions_become_nested_with_all_of_their_fields(losses):
    flat = {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": True, "x": 1}
    assert chat_tools([flat, {"type": "function", "name": "g", "strict": None}], losses) == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True, "x": 1},
        },
        {"type": "function", "function": {"name": "g"}},
    ]
    losses.converted({})


def test_nested_functions_stay(losses):
    nested = [{"type": "function", "function": {"name": "f"}}]
    assert chat_tools(nested, losses) == nested


@pytest.mark.parametrize("tool", [{"type": "web_search"}, {"type": "custom", "name": "c"}, {"name": "f"}, "f"])
def test_other_tools_are_refused(losses, tool):
    assert chat_tools([{"type": "function", "name": "f"}, tool], losses) == [
        {"type": "function", "function": {"name": "f"}}
    ]
    assert "tools[1] (a chat has no tool of type" in refused(losses)


def test_tools_are_a_list(losses):
    assert chat_tools({"type": "function"}, losses) == []
    assert "tools (it has to be a list)" in refused(losses)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_choices_of_a_tool(losses, choice, expected):
    assert chat_tool_choice(choice, losses) == expected
    losses.converted({})


@pytest.mark.parametrize(
    "choice",
    ["any", {"type": "function", "name": "f", "x": 1}, {"type": "web_search"}, {"type": "allowed_tools"}, 1, ["auto"]],
)
def test_other_choices_are_refused(losses, choice):
    assert chat_tool_choice(choice, losses) is None
    assert "tool_choice" in refused(losses)


def test_formats(losses):
    assert response_format({"type": "text"}, losses) is None
    assert response_format({}, losses) is None
    assert response_format({"type": "json_object"}, losses) == {"type": "json_object"}
    assert response_format(
        {"type": "json_schema", "name": "n", "schema": SCHEMA, "description": None, "strict": False}, losses
    ) == {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": False}}
    losses.converted({})


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ({"format": {"type": "grammar"}}, "text.format.type"),
        ({"format": {"type": "json_schema", "name": "n", "x": 1}}, "text.format.x"),
        ({"format": {"type": "json_object", "schema": {"type": "object"}}}, "text.format.schema"),
        ({"format": "json"}, "text.format"),
        ({"x": 1}, "text.x"),
        ("json", "text"),
    ],
)
def test_other_formats_are_refused(losses, text, field):
    text_options(text, losses)
    assert field in refused(losses)


def test_text_options_that_say_nothing(losses):
    assert text_options({"format": None, "verbosity": None, "x": None}, losses) == {}
    assert text_options({"format": {"type": "text"}}, losses) == {}
    losses.converted({})
