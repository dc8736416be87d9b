"""Requests whose answer depends on more than the request, so that no cache may answer them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_STATE = (
    "background",
    "container",
    "conversation",
    "mcp_servers",
    "previous_response_id",
    # Searches that the server makes on its own: OpenAI, Azure, OpenRouter, xAI, Qwen.
    "web_search_options",
    "data_sources",
    "plugins",
    "search_parameters",
    "enable_search",
)
_STATE_NAMES = frozenset(_STATE)
_UNUSED: tuple[object, ...] = (None, False, "", [])
_CLIENT_TOOLS = ("function", "custom")
_CLIENT_FIELDS = frozenset({"name", "function", "input_schema"})
"""One of these says that a tool without a type is the client's: `{"google_search": {}}` is the server's."""

_MEDIA_FIELDS = ("messages", "input", "system", "query", "documents", "text_1", "text_2", "data_1", "data_2")
_NOT_MEDIA = frozenset({"text", "arguments"})
_TEXT_OR_PARTS = frozenset({"content", "output"})
_REMOTE = ("http://", "https://", "ftp://", "gs://", "s3://", "file:")


def server_state(document: Mapping[str, Any]) -> str | None:
    """Return the field that ties the request to state the server holds or looks up, None where there is none."""
    if not _STATE_NAMES.isdisjoint(document):
        for name in _STATE:
            if document.get(name) not in _UNUSED:
                return name
    if isinstance(document.get("prompt"), dict):  # a prompt template kept by the server
        return "prompt"
    tools, items = document.get("tools"), document.get("input")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and not _is_clients(tool):
            return "tools"
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and item.get("type") == "item_reference":
            return "input"
    return None


def _is_clients(tool: Mapping[str, Any]) -> bool:
    # Anthropic's own tools carry a dated type, client tools none; OpenAI's client tools are function and custom.
    kind = tool.get("type")
    return not _CLIENT_FIELDS.isdisjoint(tool) if kind is None else kind in _CLIENT_TOOLS


def remote_media(document: Mapping[str, Any]) -> str | None:
    """Return the field that points at media which can change behind their address, None where there is none."""
    for name in _MEDIA_FIELDS:
        value = document.get(name)
        if value is not None and any(_is_remote(text) for text in _addresses(value)):
            return name
    return None


def _is_remote(text: str) -> bool:
    return text[:32].lstrip().lower().startswith(_REMOTE)


def _addresses(value: Any) -> Iterator[str]:
    """Yield every string under `value` that may be an address; what is known to be text is not."""
    waiting = [(value, True)]
    while waiting:
        item, is_text = waiting.pop()
        kind = type(item)
        if kind is str:
            if not is_text:
                yield item
        elif kind is list:
            waiting += [(member, is_text) for member in item if type(member) is not str or not is_text]
        elif kind is dict and item.get("type") != "tool_use":  # a call's arguments are text for a tool
            for name, member in item.items():
                text = name in _TEXT_OR_PARTS
                if name not in _NOT_MEDIA and not (text and type(member) is str):
                    waiting.append((member, text))
