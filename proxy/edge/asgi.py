"""Scope, receive and send on one side, an Exchange on the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from proxy.core.errors import ProxyError, ShuttingDown
from proxy.core.facts import CacheFacts, CacheOverride, Damped, SampleOverride, UpstreamFacts
from proxy.core.http import Exchange, Headers, Payload, Request, Response, get_header
from proxy.core.pipeline import Next
from proxy.core.stream import Outcome
from proxy.edge.body import ClientLeft, read_body
from proxy.edge.controls import PREFIX, Controls, read_controls, speaks_to_us, without_controls
from proxy.edge.gate import Gate
from proxy.edge.messages import Receive, Scope, Send
from proxy.edge.unpack import unpacked
from proxy.edge.watch import ClientWatch
from proxy.wire import routes
from proxy.wire.sse import error_event, is_event_stream

logger = logging.getLogger("evalside")

_NO_BODY = frozenset({204, 304})
_OURS, _LENGTH, _ANY = range(3)
_CHANGES = 2000
"""Bytes of `x-evalside-changes` at most."""


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """What the edge needs to know beside its pipeline."""

    max_body_bytes: int
    relay_only: bool
    """With `interceptors: []` no route is a pipeline route: nothing is parsed, checked or encoded again."""
    fingerprint: str
    default_run: str | None = None
    """The run of requests that name none."""


class Edge:
    """The model server's side of the app: everything that is not a `/-/` route."""

    def __init__(self, pipeline: Next, relay: Next, gate: Gate, options: EdgeOptions, on_tap_error: Callable[[], None]):
        self._pipeline = pipeline
        self._relay = relay
        self._gate = gate
        self._options = options
        self._on_tap_error = on_tap_error
        self._fingerprint = (b"x-evalside-pipeline", options.fingerprint.encode())

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, *, path: bytes, run: str | None = None
    ) -> None:
        """Answer one HTTP request; `path` is raw, without the prefix that selected `run`."""
        try:
            exchange = await self._exchange(scope, receive, path, run)
        except ClientLeft:
            return
        except ProxyError as error:
            await send_error(send, error)
            return
        response: Response | None = None
        headers: Headers | None = None
        outcome = Outcome.CLIENT_GONE
        try:
            with ClientWatch(receive) as watch:
                response = await self._answer(exchange)
                headers = await self._send_start(exchange, response, send)
                outcome = await self._send_body(exchange, response, headers, send)
                watch.stop()
        except asyncio.CancelledError:
            # The server stops, and it has no use for the cancellation: the client, who is still there, is told.
            outcome = Outcome.UPSTREAM_FAILED
            await self._end_at_shutdown(exchange, headers, send)
        finally:
            if response is not None:
                await response.aclose(outcome)
                self._count_tap_errors(exchange, response)
            # Behind one of our errors stands no answer that the client got.
            await exchange.aclose(outcome if exchange.error is None else Outcome.CLIENT_GONE)

    def _count_tap_errors(self, exchange: Exchange, response: Response) -> None:
        for error in response.tap_errors:
            self._on_tap_error()
            logger.error("an observer of exchange %s failed and was dropped: %r", exchange.id, error)

    async def _exchange(self, scope: Scope, receive: Receive, path: bytes, run: str | None) -> Exchange:
        headers: Headers = list(scope["headers"])
        self._gate.admit(scope, headers, admin=False)
        speaks = speaks_to_us(tuple([item[0] for item in headers]))
        controls = read_controls(headers, run) if speaks else Controls(run, None, None)
        method = scope["method"]
        route, path = routes.match(method, path)
        if self._options.relay_only:
            route = None
        body = await read_body(receive, headers, self._options.max_body_bytes)
        if route is not None:
            body, headers = unpacked(body, headers, self._options.max_body_bytes)
        headers = self._gate.without_token(without_controls(headers) if speaks else headers)
        request = Request(method, path, scope["query_string"], headers, Payload(body))
        exchange = Exchange(request, route=route, run=controls.run or self._options.default_run)
        if controls.cache is not None:
            exchange.put(CacheOverride(controls.cache))
        if controls.sample is not None:
            exchange.put(SampleOverride(controls.sample))
        return exchange

    async def _answer(self, exchange: Exchange) -> Response:
        try:
            return await (self._relay if exchange.route is None else self._pipeline)(exchange)
        except ProxyError as error:
            return _own_answer(exchange, error)
        except Exception:
            logger.exception("exchange %s failed inside the sidecar", exchange.id)
            return _own_answer(exchange, ProxyError("the sidecar failed on this request; its log has the details"))

    async def _send_start(self, exchange: Exchange, response: Response, send: Send) -> Headers:
        headers = self._client_headers(exchange, response)
        _keep_upstreams_date_and_server(send, headers, exchange)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        return headers

    async def _send_body(self, exchange: Exchange, response: Response, headers: Headers, send: Send) -> Outcome:
        body = response.body
        if isinstance(body, Payload):
            await send({"type": "http.response.body", "body": body.raw})
            return Outcome.COMPLETE
        try:
            async for chunk in body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except Exception as error:  # noqa: BLE001 - _end_broken logs it and tells the client
            await self._end_broken(exchange, headers, error, send)
            return Outcome.UPSTREAM_FAILED
        await send({"type": "http.response.body", "body": b""})
        return Outcome.COMPLETE

    async def _end_broken(self, exchange: Exchange, headers: Headers, error: Exception, send: Send) -> None:
        """End an answer whose headers are out: an event stream with one error event, anything else by hanging up."""
        if isinstance(error, ProxyError):
            exchange.error = error
        else:
            logger.error("exchange %s failed inside the sidecar", exchange.id, exc_info=error)
            exchange.error = ProxyError("the sidecar failed on this stream; its log has the details")
        if _takes_events(headers):
            await send({"type": "http.response.body", "body": error_event(exchange.error, exchange.route)})
        # Else no last message: the server closes the connection, which is how HTTP says that a body is cut.

    async def _end_at_shutdown(self, exchange: Exchange, headers: Headers | None, send: Send) -> None:
        error = ShuttingDown("the sidecar was stopped before the answer was whole; ask again when it is back")
        if headers is None:
            exchange.error = error
            await send_error(send, error)
        else:
            await self._end_broken(exchange, headers, error, send)

    def _client_headers(self, exchange: Exchange, response: Response) -> Headers:
        body = response.body
        if isinstance(body, Payload) or body.maps or response.status in _NO_BODY:
            # Of a 304 it is the length of what it does not send.
            headers = [item for item in response.headers if _kind(item[0]) == _ANY]
        else:
            headers = [item for item in response.headers if _kind(item[0]) != _OURS]
        if isinstance(body, Payload) and response.status not in _NO_BODY:
            headers.append((b"content-length", b"%d" % len(body)))
        headers.append((b"x-evalside-id", exchange.id.encode()))
        if exchange.run is not None:
            headers.append((b"x-evalside-run", exchange.run.encode()))
        if exchange.route is not None:
            headers += self._pipeline_headers(exchange)
        upstream = exchange.get(UpstreamFacts)
        if upstream is not None:
            headers.append((b"x-evalside-upstream-ms", b"%.1f" % upstream.ms))
        return headers

    def _pipeline_headers(self, exchange: Exchange) -> Headers:
        headers = [self._fingerprint]
        changed = _changed_fields(exchange)
        if changed:
            headers.append((b"x-evalside-changes", changed))
        cache = exchange.get(CacheFacts)
        headers.append((b"x-evalside-cache", cache.status.encode() if cache else b"off"))
        if cache is not None and cache.key is not None:
            headers.append((b"x-evalside-cache-key", cache.key.encode()))
        if cache is not None and cache.sample is not None:
            headers.append((b"x-evalside-sample", str(cache.sample).encode()))
        damped = exchange.get(Damped)
        if damped is not None:
            headers.append((b"x-evalside-damped", str(damped.times).encode()))
        return headers


@lru_cache(maxsize=1024)  # the same few names come with every answer
def _kind(name: bytes) -> int:
    """Return what a field of an answer is: one that only this sidecar writes, its length, or any other."""
    name = name.lower()
    return _OURS if name.startswith(PREFIX) else _LENGTH if name == b"content-length" else _ANY


def _changed_fields(exchange: Exchange) -> bytes:
    """Return the names of the changed fields of the request, as many as fit."""
    fields = dict.fromkeys(change.field for change in exchange.ledger.changes if change.on == "request")
    names = ", ".join(fields).encode("ascii", "replace")
    return names if len(names) <= _CHANGES else names[: _CHANGES - 3].rpartition(b", ")[0] + b", ..."


async def send_error(send: Send, error: ProxyError) -> None:
    """Answer with one of our own errors."""
    body = error.body()
    headers = [*error.response_headers(), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _own_answer(exchange: Exchange, error: ProxyError) -> Response:
    exchange.error = error
    return Response(error.status, error.response_headers(), Payload(error.body()))


def _takes_events(headers: Headers) -> bool:
    """Return whether one more event can be written behind what was sent: an open event stream, not compressed."""
    return (
        is_event_stream(headers)
        and get_header(headers, b"content-length") is None
        and get_header(headers, b"content-encoding") in {None, b"identity"}
    )


def _keep_upstreams_date_and_server(send: Any, headers: Headers, exchange: Exchange) -> None:
    """Keep uvicorn from adding its own Server, and a second Date, to an answer of the model server.

    A bare `uvicorn proxy.app:app` adds both to every answer and offers an app no other way to say no: the bound
    method's object is uvicorn's request cycle. Under another server this does nothing.
    """
    if exchange.error is not None:
        return
    cycle = getattr(send, "__self__", None)
    defaults = getattr(cycle, "default_headers", None)
    if defaults is not None:
        dated = get_header(headers, b"date") is not None
        cycle.default_headers = [  # type: ignore[union-attr]
            item for item in defaults if item[0] != b"server" and not (dated and item[0] == b"date")
        ]
