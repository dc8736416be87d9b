"""response_stats: what the model server said and took, in numbers, for each pass of a run."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, PositiveInt, model_validator

from proxy.core.facts import Damped, UpstreamFacts
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.core.stream import Outcome
from proxy.interceptors.answered import Answered, is_live
from proxy.interceptors.base import Config, Plugin, Services, simple
from proxy.wire.answer import Shared
from proxy.wire.usage import Counted, numbers

console = logging.getLogger("evalside.exchanges")

_INTERVAL = 100
_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens")


class ResponseStatsConfig(Config):
    """What is counted."""

    collect_token_stats: bool = Field(True, description="count tokens, as the model server's usage tells them")
    collect_finish_reasons: bool = Field(True, description="count finish reasons, of every choice")
    collect_tool_calls: bool = Field(True, description="count tool calls")
    logging_aggregated_stats_interval: PositiveInt = Field(
        _INTERVAL, description="answers between two events 'Statistics' on the console, for each worker process"
    )
    every: PositiveInt | None = Field(None, description="another name of `logging_aggregated_stats_interval`")

    unneeded: ClassVar[Mapping[str, str]] = {
        "cache_dir": "statistics are in the store",
        "save_individuals": "every exchange is in the log",
        "stats_file_saving_interval": "statistics are in the store",
    }

    @model_validator(mode="after")
    def _one_interval(self) -> ResponseStatsConfig:
        if self.every is not None and self.logging_aggregated_stats_interval != _INTERVAL:
            raise ValueError("'every' and 'logging_aggregated_stats_interval' are the same; keep one of them")
        return self

    @property
    def interval(self) -> int:
        """The interval, by whichever name."""
        return self.every or self.logging_aggregated_stats_interval


class ResponseStats:
    """Adds up what live answers tell; hits of the cache are counted apart, and nothing else of them."""

    def __init__(self, config: ResponseStatsConfig, services: Services) -> None:
        self._config = config
        self._log = services.log
        self._seen = 0
        self._tokens = 0

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        exchange.put(Shared())
        response = await call_next(exchange)

        def count(answer: Answered, outcome: Outcome) -> None:
            self._log.observe(exchange.run, self._values(exchange, answer, outcome))

        response.tap(Answered(response, count))
        return response

    def _values(self, exchange: Exchange, answer: Answered, outcome: Outcome) -> dict[str, float]:
        if exchange.get(Damped) is not None:
            return {}  # counted where it is done
        if not is_live(exchange):
            return {"hits": 1}
        now = time.time()
        values: dict[str, float] = {"responses": 1, f"status_codes:{answer.status}": 1}
        values |= {"started_at": exchange.time, "ended_at": now}
        upstream = exchange.get(UpstreamFacts)
        if upstream is not None:
            values["latency_ms"] = (now - exchange.time) * 1000
            if answer.streamed:
                values["first_byte_ms"] = upstream.ms
        if answer.status == 200 and outcome is Outcome.COMPLETE and exchange.route is not None:
            shared = exchange.get(Shared) or Shared()
            told = numbers(exchange.route, shared.answer(answer.body, streamed=answer.streamed))
            if told is not None:
                values |= {"successes": 1} | self._told(told)
        self._announce(values)
        return values

    def _told(self, told: Counted) -> dict[str, float]:
        values: dict[str, float] = {}
        if self._config.collect_token_stats:
            values |= {name: count for name in _TOKENS if (count := getattr(told, name)) is not None}
        if self._config.collect_finish_reasons:
            values |= {f"finish_reason:{reason}": n for reason, n in Counter(told.finish_reasons).items()}
        if self._config.collect_tool_calls:
            values |= {"tool_calls": told.tool_calls, "function_calls": told.function_calls}
        return values

    def _announce(self, values: dict[str, float]) -> None:
        self._seen += 1
        self._tokens += int(values.get("completion_tokens", 0))
        if self._seen % self._config.interval == 0:
            console.info("Statistics", extra={"responses": self._seen, "completion_tokens": self._tokens})


PLUGIN = Plugin(ResponseStatsConfig, Layer.OBSERVE, simple(ResponseStats), rank=20)
