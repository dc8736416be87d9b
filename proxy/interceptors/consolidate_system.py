"""consolidate_system: one system message at the front of a chat or a response, for templates that take no other."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from proxy.core.errors import NotEditable
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, StrictConfig, simple
from proxy.wire import routes

_FIELDS = {routes.CHAT: "messages", routes.RESPONSES: "input"}
_SYSTEM_ROLES = ("system", "developer")


class ConsolidateSystemConfig(StrictConfig):
    """How they are joined."""

    separator: str = Field("\n\n", description="between two system messages")


class ConsolidateSystem:
    """Joins the system messages of a chat where there are several, or one that is not at the front.

    Of a response it joins `instructions` and the system messages among the items, into `instructions`.
    """

    def __init__(self, config: ConsolidateSystemConfig, services: Services) -> None:
        self._separator = config.separator

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        body = exchange.request.body
        field = _FIELDS.get(exchange.route or "", "")
        messages = body.json.get(field)
        if isinstance(messages, list):
            found = [index for index, message in enumerate(messages) if _is_system(message)]
            instructions = body.json.get("instructions") if exchange.route == routes.RESPONSES else None
            if found and (found != [0] or instructions):
                document = body.edit()
                if exchange.route == routes.RESPONSES:
                    self._instruct(document)
                else:
                    self._join(document["messages"])
        return await call_next(exchange)

    def _instruct(self, document: dict[str, Any]) -> None:
        items = document["input"]
        said = [document.get("instructions") or "", *(item.get("content") for item in items if _is_system(item))]
        document["instructions"] = self._separator.join([_text(content) for content in said if content != ""])
        items[:] = [item for item in items if not _is_system(item)]

    def _join(self, messages: list[Any]) -> None:
        system = [message for message in messages if _is_system(message)]
        text = self._separator.join(_text(message.get("content")) for message in system)
        messages[:] = [
            {**system[0], "content": text},
            *(message for message in messages if not _is_system(message)),
        ]


def _is_system(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _SYSTEM_ROLES


def _text(content: Any) -> str:
    """Return a message's text; parts of text are joined by a newline."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        if len(texts) == len(content):
            return "\n".join(texts)
    raise NotEditable("consolidate_system can join text only; a system message holds something else")


# Behind the bridge that makes a chat of a response, and behind all that add system messages.
PLUGIN = Plugin(ConsolidateSystemConfig, Layer.TRANSFORM, simple(ConsolidateSystem), rank=922)
