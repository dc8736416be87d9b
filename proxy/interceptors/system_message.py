"""system_message: a system prompt for every request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator

from proxy.core.errors import NotEditable
from proxy.core.http import Exchange, Response
from proxy.core.nearest import did_you_mean
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple
from proxy.wire import routes

_SYSTEM_ROLES = ("system", "developer")


class SystemMessageConfig(TransformConfig):
    """The prompt, and what becomes of one that is there already."""

    routes: frozenset[str] = Field(routes.GENERATION, description="routes it acts on: only these four have prompts")
    system_message: str = Field(min_length=1, description="the prompt")
    strategy: Literal["prepend", "append", "replace"] = Field(
        "prepend", description="before the request's own system message, behind it, or instead of it"
    )
    separate: bool = Field(
        False, description="in a chat, a message of its own: at the front, or with append at the end of all messages"
    )

    @field_validator("routes")
    @classmethod
    def _have_prompts(cls, value: frozenset[str]) -> frozenset[str]:
        for route in sorted(value - routes.GENERATION):
            raise ValueError(f"it has no meaning on '{route}'{did_you_mean(route, routes.GENERATION)}")
        return value


class SystemMessage:
    """Puts the prompt where each route has it: one system message at the front of a chat, `instructions` of
    /v1/responses, `system` of /v1/messages. /v1/completions has no roles: there it is put before the prompt's text.
    """

    def __init__(self, config: SystemMessageConfig, services: Services) -> None:
        self._text = config.system_message
        self._strategy = config.strategy
        self._separate = config.separate
        self._changes: dict[str, Callable[[dict[str, Any]], None]] = {
            routes.CHAT: self._chat,
            routes.COMPLETIONS: self._completions,
            routes.RESPONSES: self._responses,
            routes.MESSAGES: self._messages,
        }

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        self._changes[exchange.route or ""](exchange.request.body.edit())
        return await call_next(exchange)

    def _chat(self, document: dict[str, Any]) -> None:
        messages = document.get("messages")
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise NotEditable("system_message needs 'messages', a list of objects")
        if self._strategy == "replace":
            messages[:] = [message for message in messages if message.get("role") not in _SYSTEM_ROLES]
        if self._separate:
            messages.insert(len(messages) if self._strategy == "append" else 0, self._message())
        elif messages and messages[0].get("role") in _SYSTEM_ROLES:
            messages[0]["content"] = self._joined(messages[0].get("content"))
        else:
            messages.insert(0, self._message())

    def _message(self) -> dict[str, Any]:
        return {"role": "system", "content": self._text}

    def _responses(self, document: dict[str, Any]) -> None:
        document["instructions"] = self._joined(document.get("instructions"))

    def _messages(self, document: dict[str, Any]) -> None:
        document["system"] = self._joined(document.get("system"))

    def _joined(self, old: Any) -> Any:
        if old is None or old == "" or self._strategy == "replace":
            return self._text
        new: Any = [{"type": "text", "text": self._text}] if isinstance(old, list) else self._text
        first, second = (new, old) if self._strategy == "prepend" else (old, new)
        if isinstance(old, list):
            return first + second
        if isinstance(old, str):
            return f"{first}\n{second}"
        raise NotEditable(f"system_message cannot be joined to {old!r}")

    def _completions(self, document: dict[str, Any]) -> None:
        prompt = document.get("prompt")
        if isinstance(prompt, str):
            document["prompt"] = f"{self._text}\n{prompt}"
        elif isinstance(prompt, list) and prompt and all(isinstance(item, str) for item in prompt):
            document["prompt"] = [f"{self._text}\n{item}" for item in prompt]
        else:
            raise NotEditable(
                "system_message cannot be put before a prompt of token ids; send text, or leave 'completions' out of"
                " its option 'routes'"
            )


PLUGIN = Plugin(SystemMessageConfig, Layer.TRANSFORM, simple(SystemMessage), rank=10)
