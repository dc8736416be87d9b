"""response_logging: what each client got."""

from __future__ import annotations

import logging
import time

from pydantic import Field, NonNegativeInt

from proxy.core.announce import announce
from proxy.core.collect import Collector
from proxy.core.facts import CacheFacts
from proxy.core.http import Exchange, Headers, Response, get_header
from proxy.core.pipeline import Layer, Next
from proxy.core.redact import Redactor, secret_fields
from proxy.core.stream import Outcome
from proxy.interceptors.base import Config, Plugin, Services, simple
from proxy.interceptors.quota import Quota
from proxy.interceptors.row import row_of
from proxy.store.base import ExchangeRecord
from proxy.wire.encoding import decode

LARGEST = 64 * 1024 * 1024
"""Bytes. Of a longer body the beginning is kept."""

console = logging.getLogger("evalside.exchanges")


class ResponseLoggingConfig(Config):
    """What of an answer is kept. The row itself is always written."""

    log_response_body: bool = Field(True, description="keep bodies")
    log_response_headers: bool = Field(True, description="keep headers, secrets redacted")
    max_responses: NonNegativeInt | None = Field(None, description="bodies kept per worker process; null keeps all")


class ResponseLogging:
    """Writes the answer's half of the exchange's row."""

    def __init__(self, config: ResponseLoggingConfig, services: Services) -> None:
        self._config = config
        self._log = services.log
        self._redactor = services.redactor
        self._bodies = Quota(config.max_responses if config.log_response_body else 0)

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        row = row_of(exchange, self._log, self._redactor)
        response = await row.follow(exchange, call_next)
        secrets = secret_fields(exchange.received_headers)
        if self._config.log_response_headers:
            fields = self._redactor.headers(response.headers)
            if secrets:
                raw = self._redactor.raw
                fields = [(name, raw(value, secrets)) for name, value in fields]
            row.record.response_headers = fields
        if self._bodies.take():
            encoding = get_header(response.headers, b"content-encoding")
            response.tap(_BodyTap(row.record, encoding, self._redactor, secrets))
        response.on_close(lambda outcome: _announce(exchange, response, outcome))
        return response


class _BodyTap:
    """Keeps what passes; what came before a break is kept too."""

    def __init__(self, record: ExchangeRecord, encoding: bytes | None, redactor: Redactor, headers: Headers) -> None:
        self._record = record
        self._encoding = encoding
        self._redactor = redactor
        self._headers = headers
        self._collected = Collector(LARGEST)

    def feed(self, chunk: bytes) -> None:
        self._collected.feed(chunk)

    def done(self, outcome: Outcome) -> None:
        body = self._collected.body
        decoded = decode(body, self._encoding)
        self._record.response_body = self._redactor.raw(body if decoded is None else decoded, self._headers)


def _announce(exchange: Exchange, response: Response, outcome: Outcome) -> None:
    cache = exchange.get(CacheFacts)
    error = exchange.error
    fields = {
        "exchange": exchange.id,
        "run": exchange.run,
        "status": response.status,
        "cache": cache.status if cache is not None else None,
        "outcome": outcome.value,
        "ms": round((time.perf_counter() - exchange.started) * 1000, 1),
    }
    if error is not None:
        fields |= {"error": error.code, "reason": error.message}
    announce(console, logging.INFO if error is None else logging.WARNING, "Outgoing response", fields)


PLUGIN = Plugin(ResponseLoggingConfig, Layer.OBSERVE, simple(ResponseLogging), rank=10)
