"""What the answers of a run show of reasoning, counted for `reasoning`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from proxy.core.http import Exchange, Response
from proxy.core.stream import Outcome
from proxy.interceptors.answered import Answered, is_live
from proxy.store.base import ExchangeLog
from proxy.wire import fold, routes

console = logging.getLogger("evalside.exchanges")

_TEXT = frozenset({routes.CHAT, routes.COMPLETIONS})
_FIELDS = ("reasoning_content", "reasoning")


class ReasoningTracking:
    """Adds up, for each choice of live answers, whether there was reasoning, whether it ended, and its words.

    Args:
        log: counts for the run.
        start: what begins reasoning that was left in the text, because it has no end.
        every: answers between two events 'Reasoning' on the console.
    """

    def __init__(self, log: ExchangeLog, start: str | None, every: int) -> None:
        self._log = log
        self._start = start
        self._every = every
        self._seen = 0

    def follow(self, exchange: Exchange, response: Response) -> None:
        """Count the answer, as it is from here on, at its end."""
        if is_live(exchange):
            response.tap(Answered(response, lambda answer, outcome: self._count(exchange, answer, outcome)))

    def _count(self, exchange: Exchange, answer: Answered, outcome: Outcome) -> None:
        if outcome is not Outcome.COMPLETE or answer.status != 200:
            return
        for choice in _choices(exchange.route or "", answer):
            values = self._values(choice)
            self._log.observe(exchange.run, {f"reasoning:{name}": value for name, value in values.items()})
            self._seen += 1
            if self._seen % self._every == 0:
                console.info("Reasoning", extra={"responses": self._seen, "run": exchange.run})

    def _values(self, choice: Mapping[str, Any]) -> dict[str, float]:
        message = choice.get("message")
        holder = message if isinstance(message, Mapping) else choice
        text = holder.get("content", holder.get("text"))
        content = text if isinstance(text, str) else ""
        reasoning = next((holder[name] for name in _FIELDS if isinstance(holder.get(name), str)), "")
        unfinished = self._start is not None and content.lstrip().startswith(self._start)
        if not reasoning.strip() and not unfinished:
            return {"responses": 1, "content_words": len(content.split())}
        ended = not unfinished and bool(content.strip() or holder.get("tool_calls"))
        words = reasoning if reasoning.strip() else content
        left = content if reasoning.strip() else ""
        return {
            "responses": 1,
            "started": 1,
            ("finished" if ended else "unfinished"): 1,
            "words": len(words.split()),
            "content_words": len(left.split()),
        }


def _choices(route: str, answer: Answered) -> Iterator[Mapping[str, Any]]:
    """Return the choices of a whole answer; a stream that cannot be put together has none."""
    try:
        document = fold.read(route, answer.body) if answer.streamed else orjson.loads(answer.body)
    except ValueError:
        return
    choices = document.get("choices") if isinstance(document, dict) and route in _TEXT else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            yield choice
