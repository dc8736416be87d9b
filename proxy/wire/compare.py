"""Whether two answers to one request say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.core.document import parse
from proxy.wire import fold, routes
from proxy.wire.shape import PLAIN

_OF_THE_MOMENT = frozenset(
    {"call_id", "created", "created_at", "id", "logprobs", "system_fingerprint", "timings", "usage"}
)
"""Fields that differ from answer to answer and are not what the model said."""

_SAID = frozenset({"arguments", "input"})
"""Fields that hold what the model said to a tool: nothing in them is left out."""

_CALLS = frozenset({"tool_calls", "function_call"})
_CALL_TYPES = frozenset({"custom_tool_call", "function_call", "tool_use"})


def differences(route: str, shape: str, one: bytes, other: bytes) -> list[str]:
    """Return in what two complete answers of one shape differ: `content`, `finish_reason`, `tool_calls`.

    On routes without generation everything is `content`.

    Raises:
        ValueError: one of them cannot be read.
    """
    first, second = (_said(route, _document(route, shape, body)) for body in (one, other))
    return [name for name in first if first[name] != second[name]]


def _document(route: str, shape: str, body: bytes) -> Mapping[str, Any]:
    document: Mapping[str, Any] = parse(body).value if shape == PLAIN else fold.read(route, body)
    return document


def _said(route: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    if route in {routes.CHAT, routes.COMPLETIONS}:
        choices = [_message(choice) for choice in answer["choices"]]
        return {
            "content": [_lasting(_without(choice, _CALLS | {"finish_reason", "index"})) for choice in choices],
            "finish_reason": [choice.get("finish_reason") for choice in answer["choices"]],
            "tool_calls": [_lasting([choice.get(name) or None for name in sorted(_CALLS)]) for choice in choices],
        }
    if route in {routes.RESPONSES, routes.MESSAGES}:
        items = answer["output"] if route == routes.RESPONSES else answer["content"]
        return {
            "content": [_lasting(item) for item in items if not _is_call(item)],
            "finish_reason": answer["status"] if route == routes.RESPONSES else answer["stop_reason"],
            "tool_calls": [_lasting(item) for item in items if _is_call(item)],
        }
    return {"content": _lasting(answer)}


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, dict) else choice


def _is_call(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") in _CALL_TYPES


def _without(item: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names}


def _lasting(value: Any) -> Any:
    """Return a copy without what differs from answer to answer."""
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if name not in _OF_THE_MOMENT}
        return {name: item if name in _SAID else _lasting(item) for name, item in kept.items()}
    return [_lasting(item) for item in value] if isinstance(value, list) else value
