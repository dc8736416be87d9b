"""logging: request_logging and response_logging in one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Interceptor, Layer, Next
from proxy.interceptors.base import Config, Plugin, Services
from proxy.interceptors.request_logging import RequestLogging, RequestLoggingConfig
from proxy.interceptors.response_logging import ResponseLogging, ResponseLoggingConfig


class LoggingConfig(Config):
    """There is nothing to choose: both halves with their defaults."""


@asynccontextmanager
async def _build(config: LoggingConfig, services: Services) -> AsyncIterator[Interceptor]:
    request = RequestLogging(RequestLoggingConfig(), services)
    response = ResponseLogging(ResponseLoggingConfig(), services)

    async def log(exchange: Exchange, call_next: Next, /) -> Response:
        async def inner(exchange: Exchange) -> Response:
            return await response(exchange, call_next)

        return await request(exchange, inner)

    yield log


PLUGIN = Plugin(LoggingConfig, Layer.OBSERVE, _build)
