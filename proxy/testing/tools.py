"""Decides whether the model calls a tool, and with which arguments."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from proxy.testing.errors import ApiError
from proxy.testing.jsonio import dumps
from proxy.testing.structured import instance

_ASKS_FOR_TOOL = re.compile(r"\btool\b", re.IGNORECASE)


class ToolCall(NamedTuple):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str


def chosen_tool(body: dict[str, Any], last_user_text: str) -> dict[str, Any] | None:
    """The function definition (`name`, `parameters`) to call, None if the model answers with text.

    It is called if the request requires a tool, names one, or leaves the choice open and the last user message contains
    the word "tool". Takes the nested tools of chat and the flat ones of responses. Raises ApiError 400 for a name that
    is not among the tools.
    """
    functions = [_function(tool) for tool in body.get("tools") or ()]
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict):
        name = _function(choice).get("name")
        for function in functions:
            if function.get("name") == name:
                return function
        raise ApiError(400, f"tool_choice names {name!r}, which is not among the tools", param="tool_choice")
    if not functions or choice == "none":
        return None
    return functions[0] if choice == "required" or _ASKS_FOR_TOOL.search(last_user_text) else None


def call_tool(function: dict[str, Any], words: Iterator[str]) -> ToolCall:
    """A call with arguments that fit the function's parameters."""
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return ToolCall(str(function.get("name")), dumps(instance(schema, words)).decode())


def _function(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise ApiError(400, "every tool must be an object", param="tools")
    nested = tool.get("function")
    return nested if isinstance(nested, dict) else tool
