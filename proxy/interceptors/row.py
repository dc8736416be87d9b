"""The one log row of an exchange, which request_logging and response_logging fill together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from proxy.core.errors import ProxyError
from proxy.core.facts import CacheFacts, Damped, UpstreamFacts
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Next
from proxy.core.redact import Redactor
from proxy.core.stream import Outcome
from proxy.store.base import ExchangeLog, ExchangeRecord


class Row:
    """The record, and who writes it: the first interceptor that asks for it."""

    __slots__ = ("_finish", "_followed", "_log", "record")

    def __init__(self, record: ExchangeRecord, log: ExchangeLog) -> None:
        self.record = record
        self._log = log
        self._followed = False
        self._finish: list[Callable[[], None]] = []

    def before_written(self, fn: Callable[[], None]) -> None:
        """Call `fn` when the exchange has ended, to complete the record."""
        self._finish.append(fn)

    async def follow(self, exchange: Exchange, call_next: Next) -> Response:
        """Call on, and have the row written when the exchange ends, however it ends."""
        if self._followed:
            return await call_next(exchange)
        self._followed = True
        try:
            response = await call_next(exchange)
        except asyncio.CancelledError:
            self._write(exchange, None, Outcome.CLIENT_GONE)
            raise
        except Exception:  # not one of our errors, which are answers by now: the edge makes a 500 of it
            self.record.error = ProxyError.code
            self._write(exchange, None, Outcome.UPSTREAM_FAILED)
            raise
        response.on_close(lambda outcome: self._write(exchange, response, outcome))
        return response

    def _write(self, exchange: Exchange, response: Response | None, outcome: Outcome) -> None:
        record = self.record
        for finish in self._finish:
            finish()
        self._finish.clear()  # they hold the exchange, which holds this: bodies would wait for a collection
        cache = exchange.get(CacheFacts)
        upstream = exchange.get(UpstreamFacts)
        if response is not None:
            record.status = response.status
        if exchange.error is not None:
            record.error = exchange.error.code
        if cache is not None:
            record.cache, record.cache_key, record.sample, record.reason = cache
        if exchange.get(Damped) is not None:
            record.reason = "the model server's last failure was repeated (damping)"
        if upstream is not None:
            record.upstream_ms = upstream.ms
        record.outcome = outcome.value
        record.duration_ms = (time.perf_counter() - exchange.started) * 1000
        self._log.append(record)


def row_of(exchange: Exchange, log: ExchangeLog, redactor: Redactor) -> Row:
    """Return the exchange's row, made where it has none yet."""
    row = exchange.get(Row)
    if row is None:
        request = exchange.request
        path = request.path.decode("latin-1")
        if request.query:
            path += "?" + redactor.query(request.query.decode("latin-1"))
        record = ExchangeRecord(exchange.id, exchange.run, exchange.time, request.method, path, exchange.route)
        row = Row(record, log)
        exchange.put(row)
    return row


def sent_body(exchange: Exchange) -> bytes | None:
    """Return what was sent on where that differs from what was received; None also where it could not be encoded."""
    try:
        raw = exchange.request.body.raw
    except ProxyError:
        return None
    return raw if raw != exchange.received else None
