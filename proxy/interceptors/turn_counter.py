"""turn_counter: tells the model how many turns of a conversation are left, and ends it when there is none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt

from proxy.core.errors import SessionBudgetExhausted
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, StrictConfig, simple
from proxy.wire import routes

console = logging.getLogger("evalside.exchanges")

_WARN, _URGENT = 0.80, 0.95
_ROUTES = frozenset({routes.CHAT, routes.MESSAGES})


class TurnCounterConfig(StrictConfig):
    """The budget, and when the model is told of it."""

    every: PositiveInt = Field(1, description="turns between two events 'Turn' on the console")
    max_turns: PositiveInt | None = Field(None, description="turns of a conversation; null counts without a limit")
    position: Literal["system_message", "user_message"] = Field(
        "system_message", description="where the model is told: in the system message, or in the last user message"
    )
    trigger: Literal["threshold", "periodic"] = Field(
        "threshold", description="at 80 % and 95 % of the budget, or every `interval` turns"
    )
    interval: PositiveInt = Field(1, description="turns between two notes, with trigger periodic")


class TurnCounter:
    """Counts the answers that are in the messages: the same for every worker, after a restart, and for retries."""

    def __init__(self, config: TurnCounterConfig, services: Services) -> None:
        self._config = config

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        body = exchange.request.body
        messages = body.json.get("messages")
        if exchange.route in _ROUTES and isinstance(messages, list):
            turn = 1 + sum(isinstance(item, dict) and item.get("role") == "assistant" for item in messages)
            self._check(exchange, turn)
            note = self._note(turn)
            if note:
                self._tell(body.edit(), exchange.route, note)
        return await call_next(exchange)

    def _check(self, exchange: Exchange, turn: int) -> None:
        limit = self._config.max_turns
        if turn % self._config.every == 0:
            console.info("Turn", extra={"exchange": exchange.id, "run": exchange.run, "turn": turn, "of": limit})
        if limit is not None and turn > limit:
            raise SessionBudgetExhausted(f"this is turn {turn} of a conversation that may have {limit} (max_turns)")

    def _note(self, turn: int) -> str:
        limit = self._config.max_turns
        if limit is None:
            return ""
        said = f"[Turn {turn} of {limit}."
        if self._config.trigger == "periodic":
            return f"{said}]" if turn % self._config.interval == 0 else ""
        if turn >= limit * _URGENT:
            return f"{said} Almost no turns are left: give your final answer now.]"
        return f"{said} Few turns are left: begin to conclude.]" if turn >= limit * _WARN else ""

    def _tell(self, document: dict[str, Any], route: str, note: str) -> None:
        messages = document["messages"]
        if self._config.position == "user_message":
            users = [item for item in messages if isinstance(item, dict) and item.get("role") == "user"]
            if users:
                users[-1]["content"] = _joined(users[-1].get("content"), note)
        elif route == routes.MESSAGES:
            document["system"] = _joined(document.get("system"), note)
        elif messages and _is_system(messages[0]):
            messages[0]["content"] = _joined(messages[0].get("content"), note)
        else:
            messages.insert(0, {"role": "system", "content": note})


def _is_system(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") in ("system", "developer")


def _joined(content: Any, note: str) -> Any:
    if isinstance(content, list):
        return [*content, {"type": "text", "text": note}]
    return f"{content}\n{note}" if isinstance(content, str) and content else note


PLUGIN = Plugin(TurnCounterConfig, Layer.TRANSFORM, simple(TurnCounter), rank=40)
