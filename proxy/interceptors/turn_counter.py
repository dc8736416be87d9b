"""turn_counter: tells the model how many turns of a conversation are left, and ends it when there is none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt

from proxy.core.errors import NotEditable, SessionBudgetExhausted
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, StrictConfig, simple
from proxy.wire import routes
from proxy.wire.conversation import messages_of

console = logging.getLogger("evalside.exchanges")

_WARN, _URGENT = 0.80, 0.95
_ROUTES = frozenset({routes.CHAT, routes.MESSAGES})
_KEPT = ("previous_response_id", "conversation")
"""Of a response: what was said before is with the model server."""


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
        messages = _messages(exchange.route, body.json)
        if exchange.route is not None and messages is not None:
            self._refuse_what_is_kept(body.json)
            turn = 1 + sum(isinstance(item, dict) and item.get("role") == "assistant" for item in messages)
            self._check(exchange, turn)
            note = self._note(turn)
            if note:
                self._tell(body.edit(), exchange.route, note)
        return await call_next(exchange)

    def _refuse_what_is_kept(self, document: Mapping[str, Any]) -> None:
        kept = next((name for name in _KEPT if document.get(name) is not None), None)
        if kept is not None and self._config.max_turns is not None:
            raise NotEditable(
                f"turn_counter cannot count the turns before '{kept}', which the model server keeps, and max_turns is"
                " set; send the whole conversation as 'input'"
            )

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
        if route == routes.RESPONSES:
            self._tell_response(document, note)
            return
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

    def _tell_response(self, document: dict[str, Any], note: str) -> None:
        if self._config.position == "system_message":
            document["instructions"] = _joined(document.get("instructions"), note)
        elif isinstance(document["input"], str):
            document["input"] = _joined(document["input"], note)
        else:
            users = [item for item in document["input"] if isinstance(item, dict) and item.get("role") == "user"]
            if users:
                users[-1]["content"] = _joined(users[-1].get("content"), note, "input_text")


def _messages(route: str | None, document: Mapping[str, Any]) -> list[Any] | None:
    """Return what was said until now; None where there are no turns."""
    if route == routes.RESPONSES:
        return messages_of({"input": document.get("input")}) or None
    messages = document.get("messages") if route in _ROUTES else None
    return messages if isinstance(messages, list) else None


def _is_system(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") in ("system", "developer")


def _joined(content: Any, note: str, kind: str = "text") -> Any:
    if isinstance(content, list):
        return [*content, {"type": kind, "text": note}]
    return f"{content}\n{note}" if isinstance(content, str) and content else note


PLUGIN = Plugin(TurnCounterConfig, Layer.TRANSFORM, simple(TurnCounter), rank=40)
