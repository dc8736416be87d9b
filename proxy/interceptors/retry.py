"""retry: asks again where the model server was busy, or could not be reached."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from email.utils import parsedate_to_datetime

from pydantic import Field, NonNegativeInt, PositiveFloat

from proxy.core.errors import ProxyError, UpstreamIncomplete, UpstreamTimeout, UpstreamUnreachable
from proxy.core.http import Exchange, Response, get_header
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Config, Plugin, Services, simple

logger = logging.getLogger("evalside")

RETRY_ON = frozenset({408, 429, 502, 503, 504})
_FAILURES = (UpstreamUnreachable, UpstreamIncomplete, UpstreamTimeout)
_FIRST_WAIT = 0.5
"""Seconds; doubled with each attempt."""


class RetryConfig(Config):
    """When, and how often."""

    max_retries: NonNegativeInt = Field(3, description="attempts after the first")
    retry_on_status: frozenset[int] = Field(RETRY_ON, description="statuses that are asked again")
    max_wait: PositiveFloat = Field(60.0, description="seconds between two attempts at most, whatever Retry-After says")


class Retry:
    """Waits as Retry-After says, else twice as long each time. What has begun to stream is never asked again."""

    def __init__(self, config: RetryConfig, services: Services) -> None:
        self._config = config
        self._log = services.log

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        for attempt in itertools.count():
            response, failure = await _attempt(exchange, call_next)
            if failure is None and (response is None or response.status not in self._config.retry_on_status):
                break
            if attempt >= self._config.max_retries:
                break
            wait = self._wait(attempt, response)
            reason = failure.message if failure is not None else f"status {response.status}" if response else ""
            logger.info("asking again in %.1f s: %s", wait, reason)
            self._log.observe(exchange.run, {"retries": 1})
            if response is not None:
                await response.aclose()  # its connection is free for the next attempt
            await asyncio.sleep(wait)
        if failure is not None:
            raise failure
        assert response is not None
        return response

    def _wait(self, attempt: int, response: Response | None) -> float:
        asked = _retry_after(get_header(response.headers, b"retry-after")) if response is not None else None
        if asked is not None:
            return min(asked + random.uniform(0, 0.25), self._config.max_wait)  # noqa: S311 - it spreads clients
        longest = min(_FIRST_WAIT * 2 ** min(attempt, 30), self._config.max_wait)
        return random.uniform(longest / 2, longest)  # noqa: S311


async def _attempt(exchange: Exchange, call_next: Next) -> tuple[Response | None, ProxyError | None]:
    try:
        return await call_next(exchange), None
    except _FAILURES as error:
        return None, error


def _retry_after(value: bytes | None) -> float | None:
    """Return the seconds that the field asks for, None where it asks for nothing readable. RFC 9110, section 10.2.3."""
    text = (value or b"").decode("latin-1").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


PLUGIN = Plugin(RetryConfig, Layer.TRANSPORT, simple(Retry), rank=0)
