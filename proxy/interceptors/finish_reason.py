"""finish_reason: `length` where an answer filled its limit of tokens and the server says `stop`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.answers import edit_answer
from proxy.interceptors.base import Plugin, Services, StrictConfig, simple
from proxy.wire import routes

_LIMITS = ("max_completion_tokens", "max_tokens")
_CHUNKED = frozenset({routes.CHAT, routes.COMPLETIONS})
_WHY = "as many tokens as the limit"


class FinishReasonConfig(StrictConfig):
    """There is nothing to choose."""


class FinishReason:
    """Compares the tokens that were generated with the limit that the model server was sent."""

    def __init__(self, config: FinishReasonConfig, services: Services) -> None:
        pass

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        response = await call_next(exchange)
        limit = _limit(exchange.request.body.json)  # the final request: others may have set it meanwhile
        if exchange.route in _CHUNKED and limit is not None:
            exchange.ledger.explain("choices[].finish_reason", _WHY)
            edit_answer(
                response,
                name="finish_reason",
                whole=lambda answer: _correct(answer, answer, limit),
                events=lambda: _Stream(limit),
                why=_WHY,
            )
        return response


class _Stream:
    """Holds the chunk with the finish reason until the usage behind it is known."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: list[dict[str, Any]] = []
        self._choices: set[str] = set()

    def edit(self, document: dict[str, Any]) -> Iterable[dict[str, Any]]:
        choices = _choices(document)
        self._choices |= {repr(choice.get("index")) for choice in choices}  # it may be anything
        held, self._held = self._held, []
        if document.get("usage") is not None:
            for waiting in (*held, document):
                _correct(waiting, document, self._limit, choices=len(self._choices))
        elif any(choice.get("finish_reason") == "stop" for choice in choices):
            self._held = [*held, document]
            return []
        return [*held, document]

    def end(self) -> Iterable[dict[str, Any]]:
        held, self._held = self._held, []
        return held


def _choices(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = answer.get("choices")
    return [choice for choice in (listed if isinstance(listed, list) else ()) if isinstance(choice, dict)]


def _limit(request: Mapping[str, Any]) -> int | None:
    values = (request.get(name) for name in _LIMITS)
    return next((value for value in values if type(value) is int and value > 0), None)


def _correct(answer: dict[str, Any], counted: Mapping[str, Any], limit: int, choices: int | None = None) -> None:
    """Set the finish reason of each choice that is known to have filled the limit."""
    found = _choices(answer)
    alone = (len(found) if choices is None else choices) == 1
    for choice in found:
        usage = choice.get("usage") or (counted.get("usage") if alone else None)
        if choice.get("finish_reason") == "stop" and _generated(usage) >= limit:
            choice["finish_reason"] = "length"


def _generated(usage: Any) -> int:
    """Return how many tokens were generated, reasoning included even where a server counts it apart."""
    if not isinstance(usage, dict):
        return 0
    details = usage.get("completion_tokens_details")
    counts = (usage.get("completion_tokens"), details.get("reasoning_tokens") if isinstance(details, dict) else None)
    return max((count for count in counts if type(count) is int), default=0)


PLUGIN = Plugin(FinishReasonConfig, Layer.TRANSFORM, simple(FinishReason), rank=60)
