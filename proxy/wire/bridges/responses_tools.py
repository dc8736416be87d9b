"""Tools of /v1/responses as those of a chat, and what the answer has to look like.

Formats: https://platform.openai.com/docs/api-reference/responses/create and /chat/create.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.wire.bridges.losses import Losses, says_something

_CHOICES = frozenset({"none", "auto", "required"})
_SCHEMA = ("name", "description", "schema", "strict")


def chat_tools(tools: Any, losses: Losses) -> list[dict[str, Any]]:
    """Return flat function tools nested, as a chat has them; those that the server would run itself are refused."""
    if not isinstance(tools, list):
        losses.refuse("tools", "it has to be a list")
        return []
    nested = []
    for place, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(tool, dict) or kind != "function":
            losses.refuse(f"tools[{place}]", f"a chat has no tool of type {kind!r}, which the server runs or defines")
        elif "function" in tool:
            nested.append(tool)
        else:
            function = {name: value for name, value in tool.items() if name != "type" and value is not None}
            nested.append({"type": "function", "function": function})
    return nested


def chat_tool_choice(choice: Any, losses: Losses) -> Any:
    """Return the choice as a chat has it: a mode, or one function."""
    if choice is None or (isinstance(choice, str) and choice in _CHOICES):
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function" and choice.keys() <= {"type", "name", "function"}:
        return choice if "function" in choice else {"type": "function", "function": {"name": choice.get("name")}}
    losses.refuse("tool_choice", "a chat takes none, auto, required or one function")
    return None


def response_format(wanted: Mapping[str, Any], losses: Losses) -> dict[str, Any] | None:
    """Return `text.format` as a chat's `response_format`, None where it is plain text."""
    kind = wanted.get("type", "text")
    if kind == "json_schema":
        schema = {name: wanted[name] for name in _SCHEMA if wanted.get(name) is not None}
        _refuse_others(wanted, {"type", *_SCHEMA}, "text.format", losses)
        return {"type": "json_schema", "json_schema": schema}
    if kind in ("text", "json_object"):
        _refuse_others(wanted, {"type"}, "text.format", losses)
        return {"type": kind} if kind == "json_object" else None
    losses.refuse("text.format.type", f"a chat has no format {kind!r}")
    return None


def text_options(text: Any, losses: Losses) -> dict[str, Any]:
    """Return what `text` asks for in the fields of a chat."""
    if not isinstance(text, dict):
        losses.refuse("text", "it has to be an object")
        return {}
    fields: dict[str, Any] = {}
    wanted = text.get("format")
    if isinstance(wanted, dict):
        shape = response_format(wanted, losses)
        if shape is not None:
            fields["response_format"] = shape
    elif wanted is not None:
        losses.refuse("text.format", "it has to be an object")
    if text.get("verbosity") is not None:
        fields["verbosity"] = text["verbosity"]
    _refuse_others(text, {"format", "verbosity"}, "text", losses)
    return fields


def _refuse_others(fields: Mapping[str, Any], known: set[str], at: str, losses: Losses) -> None:
    for name, value in fields.items():
        if name not in known and says_something(value):
            losses.refuse(f"{at}.{name}")
