import pytest

from tests.unit.interceptors.alone import REQUEST, ask

NUMBER = {"type": "number"}


def schema(**fields):
    return {"type": "object", "properties": {"city": {"type": "string"}, "temperature": NUMBER}, **fields}


@pytest.mark.parametrize(
    ("route", "tool"),
    [
        ("chat", lambda parameters: {"type": "function", "function": {"name": "f", "parameters": parameters}}),
        ("responses", lambda parameters: {"type": "function", "name": "f", "parameters": parameters}),
        ("messages", lambda parameters: {"name": "f", "input_schema": parameters}),
    ],
)
async def test_properties_are_stripped_and_added_in_every_form_of_a_tool(route, tool):
    options = {"strip_properties": ["temperature"], "add_properties": {"unit": NUMBER, "city": NUMBER}}
    body = {**REQUEST, "tools": [tool(schema(required=["city", "temperature"]))]}
    asked = await ask("modify_tools", options, request=body, route=route)
    properties = {"city": {"type": "string"}, "unit": NUMBER}
    assert asked.sent["tools"] == [tool({"type": "object", "properties": properties, "required": ["city"]})]


async def test_nothing_else_of_a_request_is_touched():
    deep = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": schema()}}}}
    body = {"messages": [{"role": "user", "content": "temperature"}], "temperature": 1, "tools": [deep, "odd", {}]}
    asked = await ask("modify_tools", {"strip_properties": ["temperature"]}, request=body)
    assert asked.sent == body
    assert asked.changes == []


async def test_a_request_without_tools_passes():
    asked = await ask("modify_tools", {"strip_properties": ["x"]})
    assert asked.sent == REQUEST


async def test_an_added_property_is_not_shared_between_requests():
    tool = {"type": "function", "function": {"name": "f", "parameters": schema()}}
    options = {"add_properties": {"unit": {"enum": ["C"]}}}
    asked = await ask("modify_tools", options, request={**REQUEST, "tools": [tool, tool]})
    first, second = (item["function"]["parameters"]["properties"]["unit"] for item in asked.sent["tools"])
    first["enum"].append("F")
    assert second == {"enum": ["C"]}
