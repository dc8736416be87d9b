"""Requests whose answer depends on more than the request, so that no cache may answer them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_STATE = ("previous_response_id", "conversation", "background", "container", "mcp_servers", "web_search_options")
_CLIENT_TOOLS = frozenset({"function", "custom", None})
_REMOTE = ("http://", "https://", "ftp://", "gs://", "s3://", "file:")


def server_state(document: Mapping[str, Any]) -> str | None:
    """Return the field that ties the request to state the server holds, None where there is none."""
    for name in _STATE:
        if document.get(name):
            return name
    tools = document.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        # Anthropic's own tools carry a dated type, client tools none; OpenAI's client tools are function and custom.
        if isinstance(tool, dict) and tool.get("type") not in _CLIENT_TOOLS:
            return "tools"
    return None


def remote_media(document: Mapping[str, Any]) -> str | None:
    """Return where the request points at media that can change behind their address, None where it does not."""
    for name in ("messages", "input"):
        items = document.get(name)
        for item in items if isinstance(items, list) else ():
            content = item.get("content") if isinstance(item, dict) else None
            for part in content if isinstance(content, list) else ():
                if any(text.startswith(_REMOTE) for text in _addresses(part)):
                    return f"{name}[].content"
    return None


def _addresses(part: Any) -> Iterator[str]:
    """Yield every string under a content part that may be an address; the part's own text is not."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "text":
                continue
            if isinstance(value, str):
                yield value
            else:
                yield from _addresses(value)
