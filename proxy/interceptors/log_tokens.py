"""log_tokens: one line on the console for each answer, with its model, tokens and latency."""

from __future__ import annotations

import logging
import time

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.core.stream import Outcome
from proxy.interceptors.answered import Answered, is_live
from proxy.interceptors.base import Config, Plugin, Services, simple
from proxy.wire.usage import counted

console = logging.getLogger("evalside.exchanges")


class LogTokensConfig(Config):
    """There is nothing to choose."""


class LogTokens:
    """Writes the event 'Tokens'."""

    def __init__(self, config: LogTokensConfig, services: Services) -> None:
        pass

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        response = await call_next(exchange)

        def announce(answer: Answered, outcome: Outcome) -> None:
            told = counted(exchange.route or "", answer.body, streamed=answer.streamed)
            if told is not None:
                console.info(
                    "Tokens",
                    extra={
                        "exchange": exchange.id,
                        "run": exchange.run,
                        "model": told.model,
                        "prompt_tokens": told.prompt_tokens,
                        "completion_tokens": told.completion_tokens,
                        "total_tokens": told.total_tokens,
                        "live": is_live(exchange),
                        "ms": round((time.perf_counter() - exchange.started) * 1000, 1),
                    },
                )

        response.tap(Answered(response, announce))
        return response


PLUGIN = Plugin(LogTokensConfig, Layer.OBSERVE, simple(LogTokens), rank=30)
