"""consolidate_system: one system message at the front of a chat, for templates that take no other."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from proxy.core.errors import NotEditable
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, StrictConfig, simple
from proxy.wire import routes

_SYSTEM_ROLES = ("system", "developer")


class ConsolidateSystemConfig(StrictConfig):
    """How they are joined."""

    separator: str = Field("\n\n", description="between two system messages")


class ConsolidateSystem:
    """Joins the system messages of a chat where there are several, or one that is not at the front."""

    def __init__(self, config: ConsolidateSystemConfig, services: Services) -> None:
        self._separator = config.separator

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        messages = exchange.request.body.json.get("messages")
        if exchange.route == routes.CHAT and isinstance(messages, list):
            found = [index for index, message in enumerate(messages) if _is_system(message)]
            if found and found != [0]:
                self._join(exchange.request.body.edit()["messages"])
        return await call_next(exchange)

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


PLUGIN = Plugin(ConsolidateSystemConfig, Layer.TRANSFORM, simple(ConsolidateSystem), rank=15)
