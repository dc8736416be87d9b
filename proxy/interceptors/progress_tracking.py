"""progress_tracking: tells a URL, or a file, how many answers there are. No request ever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
from pydantic import AnyHttpUrl, Field, PositiveFloat, PositiveInt, model_validator

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Interceptor, Layer, Next
from proxy.core.stream import Outcome
from proxy.interceptors.answered import is_live
from proxy.interceptors.base import CannotStart, Config, Plugin, Services

logger = logging.getLogger("evalside")

_TIMEOUT = 10.0
"""Seconds until the URL has to answer."""
_COUNTED = "progress"


class ProgressTrackingConfig(Config):
    """Whom to tell, and how often."""

    progress_tracking_url: AnyHttpUrl | None = Field(
        None, description="gets `samples_processed` as JSON; null tells nobody"
    )
    progress_tracking_interval: PositiveInt = Field(1, description="answers between two messages")
    progress_tracking_interval_seconds: PositiveFloat | None = Field(
        None, description="seconds between two messages, where the number has changed"
    )
    request_method: Literal["PATCH", "POST", "PUT"] = Field("PATCH", description="method of the message")
    output_dir: Path | None = Field(None, description="folder of a file `progress` that holds the number")
    webhook_url: AnyHttpUrl | None = Field(
        None, description="gets `completed` as JSON by POST, in place of `progress_tracking_url`"
    )
    every: PositiveInt | None = Field(None, description="another name of `progress_tracking_interval`")

    @model_validator(mode="after")
    def _one_name(self) -> ProgressTrackingConfig:
        for one, other in (
            ("webhook_url", "progress_tracking_url"),
            ("webhook_url", "request_method"),
            ("every", "progress_tracking_interval"),
        ):
            default = type(self).model_fields[other].default
            if getattr(self, one) is not None and getattr(self, other) != default:
                raise ValueError(f"'{one}' and '{other}' say the same in two forms; keep one of them")
        return self

    @property
    def interval(self) -> int:
        """The interval, by whichever name."""
        return self.every or self.progress_tracking_interval


class ProgressTracking:
    """Counts live answers with status 200: neither retries nor hits of the cache are progress.

    The number is that of all workers and goes on after a restart: it is the count of the run in the store. Where
    several runs use one sidecar, it is that of those this worker has seen.
    """

    def __init__(self, config: ProgressTrackingConfig, services: Services) -> None:
        self._config = config
        self._log = services.log
        self._runs: set[str | None] = set()
        self._since = 0
        self._due = asyncio.Event()
        self._told: int | None = None

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        response = await call_next(exchange)

        def count(outcome: Outcome) -> None:
            if outcome is Outcome.COMPLETE and response.status == 200 and is_live(exchange):
                self._runs.add(exchange.run)
                self._log.observe(exchange.run, {_COUNTED: 1})
                self._since += 1
                if self._since >= self._config.interval:
                    self._since = 0
                    self._due.set()

        response.on_close(count)
        return response

    async def report_for_ever(self) -> None:
        """Tell the number whenever it is time."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.progress_tracking_interval_seconds):
                    await self._due.wait()
            self._due.clear()
            await self.report()

    async def report(self) -> None:
        """Tell the number, if it is another than the last; what cannot be told is on the console."""
        await self._log.flush()
        number = sum(self._log.observed(run, _COUNTED) for run in self._runs)
        if number in {0, self._told}:  # an answer that came while it waited is not written yet
            return
        try:
            await asyncio.to_thread(self._write, number)
            await self._send(number)
        except (OSError, httpx.HTTPError) as error:
            logger.warning("progress_tracking: %d answers could not be told: %s", number, error)
        else:
            self._told = number  # not before: a message that is cut off at shutdown is sent again

    def _write(self, number: int) -> None:
        if self._config.output_dir is not None:
            folder = self._config.output_dir.expanduser()
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "progress").write_text(str(number))

    async def _send(self, number: int) -> None:
        config = self._config
        url, method, field = config.progress_tracking_url, str(config.request_method), "samples_processed"
        if config.webhook_url is not None:
            url, method, field = config.webhook_url, "POST", "completed"
        if url is not None:
            async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
                answered = await client.request(method, str(url), json={field: number})
            answered.raise_for_status()


@asynccontextmanager
async def _build(config: ProgressTrackingConfig, services: Services) -> AsyncIterator[Interceptor]:
    if config.progress_tracking_url is None and config.webhook_url is None and config.output_dir is None:
        raise CannotStart("progress_tracking tells nobody: give 'progress_tracking_url', 'webhook_url' or 'output_dir'")
    tracking = ProgressTracking(config, services)
    task = asyncio.create_task(tracking.report_for_ever(), name="progress")
    try:
        yield tracking
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await tracking.report()


PLUGIN = Plugin(ProgressTrackingConfig, Layer.OBSERVE, _build, rank=50)
