"""request_logging: what each client sent, and what was sent on where that differs."""

from __future__ import annotations

import logging

from pydantic import Field, NonNegativeInt

from proxy.core.announce import announce
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Config, Plugin, Services, simple
from proxy.interceptors.quota import Quota
from proxy.interceptors.row import row_of, sent_body

console = logging.getLogger("evalside.exchanges")


class RequestLoggingConfig(Config):
    """What of a request is kept. The row itself is always written."""

    log_request_body: bool = Field(True, description="keep bodies")
    log_request_headers: bool = Field(True, description="keep headers, secrets redacted")
    max_requests: NonNegativeInt | None = Field(None, description="bodies kept per worker process; null keeps all")


class RequestLogging:
    """Writes the request's half of the exchange's row."""

    def __init__(self, config: RequestLoggingConfig, services: Services) -> None:
        self._config = config
        self._log = services.log
        self._redactor = services.redactor
        self._bodies = Quota(config.max_requests if config.log_request_body else 0)

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        row = row_of(exchange, self._log, self._redactor)
        record = row.record
        fields = {"exchange": exchange.id, "run": exchange.run, "method": record.method, "path": record.path}
        announce(console, logging.INFO, "Incoming request", fields)
        if self._config.log_request_headers:
            record.request_headers = self._redactor.headers(exchange.received_headers)
        if self._bodies.take():
            headers = exchange.received_headers
            record.request_body = self._redactor.raw(exchange.received, headers)

            def note_what_was_sent() -> None:
                sent = sent_body(exchange)
                record.sent_body = self._redactor.raw(sent, headers) if sent is not None else None

            row.before_written(note_what_was_sent)
        return await row.follow(exchange, call_next)


PLUGIN = Plugin(RequestLoggingConfig, Layer.OBSERVE, simple(RequestLogging))
