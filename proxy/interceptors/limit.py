"""limit: no more requests at the model server than it may have; the others wait in line."""

from __future__ import annotations

import asyncio

from pydantic import Field, NonNegativeInt, PositiveInt

from proxy.core.errors import QueueFull
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.core.stream import ByteStream, Outcome
from proxy.interceptors.base import Config, Plugin, Services, simple


class LimitConfig(Config):
    """How many, in each worker process."""

    max_concurrent: PositiveInt = Field(description="requests at the model server at the same time")
    max_waiting: NonNegativeInt | None = Field(None, description="requests in line; more are 503. null has no limit")


class Limit:
    """A place is taken until the last byte of the answer is here."""

    def __init__(self, config: LimitConfig, services: Services) -> None:
        self._config = config
        self._places = asyncio.Semaphore(config.max_concurrent)
        self._waiting = 0

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        limit = self._config.max_waiting
        if limit is not None and self._places.locked() and self._waiting >= limit:
            raise QueueFull(
                f"{self._config.max_concurrent} requests are at the model server and {self._waiting} wait (limit);"
                " ask again later",
                headers=[(b"retry-after", b"1")],
            )
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            response = await call_next(exchange)
        except BaseException:
            self._places.release()
            raise
        if isinstance(response.body, ByteStream):
            response.tap(_Place(self._places))
        else:
            self._places.release()
        return response


class _Place:
    """Given back at the end of a stream, however it ends."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places

    def feed(self, chunk: bytes) -> None:
        """Nothing: it is only about the end."""

    def done(self, outcome: Outcome) -> None:
        self._places.release()


PLUGIN = Plugin(LimitConfig, Layer.TRANSPORT, simple(Limit), rank=10)
