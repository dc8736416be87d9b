"""The innermost step of the pipeline: one request to the model server, one response back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import NamedTuple

import httpx

from proxy.core.errors import (
    InvalidHeader,
    ProxyError,
    UpstreamIncomplete,
    UpstreamStalled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.core.facts import UpstreamFacts
from proxy.core.hop import end_to_end
from proxy.core.http import Exchange, Headers, Payload, Request, Response
from proxy.core.stream import ByteStream
from proxy.upstream.address import Address
from proxy.upstream.asking import Origin, asker
from proxy.upstream.http1 import Incoming, Outgoing
from proxy.wire.sse import is_event_stream

_OURS = frozenset({b"host", b"content-length", b"expect"})
"""Request fields that are written anew: the upstream's host, the length of what is sent, no 100-continue."""

_BODYLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; None waits for ever. `first_byte` and `idle` are for streamed answers only."""

    connect: float | None = 5.0
    first_byte: float | None = 600.0
    idle: float | None = 120.0


class _Fields(NamedTuple):
    """Header fields of ours, which come first in a request, and the names of those that they replace."""

    first: Headers
    replaced: frozenset[bytes]

    def replacing(self, field: tuple[bytes, bytes]) -> _Fields:
        """Return them with one more."""
        return _Fields([*self.first, field], self.replaced | {field[0].lower()})


class Upstream:
    """Asks the model server. `await upstream(exchange)` is the pipeline's terminal.

    Raises (from the call, or from the response's stream once headers are out):
        UpstreamUnreachable: no connection.
        UpstreamTimeout: no connection in time, or no first byte of a streamed answer in time.
        UpstreamIncomplete: the connection broke before the answer was whole.
        UpstreamStalled: a streamed answer paused for longer than `idle`.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        address: Address,
        timeouts: Timeouts = Timeouts(),
        api_key: str | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """`on_change` is called before and after a relayed request that may change the server: one to load weights."""
        self._ask = asker(transport, Origin(httpx.URL(address.origin), timeouts.connect))
        self._address = address
        self._timeouts = timeouts
        self._relayed = _Fields([(b"Host", address.host.encode())], _OURS)
        if api_key:
            self._relayed = self._relayed.replacing((b"Authorization", b"Bearer " + api_key.encode()))
        self._piped = self._relayed.replacing((b"Accept-Encoding", b"identity"))
        self._on_change = on_change

    async def __call__(self, exchange: Exchange) -> Response:
        """Send the exchange's request and return the response at its headers, or whole where it is not a stream."""
        started = time.perf_counter()
        begin_by = self._begin_by(exchange.request)
        on_change = self._on_change if exchange.route is None and exchange.request.method not in _SAFE else None
        if on_change is not None:
            on_change()
        try:
            if begin_by is None:  # a timeout that never comes costs a task all the same
                answer = await self._ask(self._outgoing(exchange))
            else:
                async with asyncio.timeout_at(begin_by):
                    answer = await self._ask(self._outgoing(exchange))
        except TimeoutError:
            raise self.no_first_byte() from None
        except httpx.TransportError as error:
            raise self.explained(error) from error
        finally:
            if on_change is not None:
                on_change()  # what was seen meanwhile may be from before the change
        response = await self._response(exchange, answer, begin_by)
        exchange.put(UpstreamFacts(ms=(time.perf_counter() - started) * 1000))
        return response

    def _begin_by(self, request: Request) -> float | None:
        """Return when the first byte is due, in the loop's time; None where it may take as long as it likes."""
        document = request.body.known
        if self._timeouts.first_byte is None or document is None or document.get("stream") is not True:
            return None
        return asyncio.get_running_loop().time() + self._timeouts.first_byte

    def _outgoing(self, exchange: Exchange) -> Outgoing:
        request = exchange.request
        ours = self._relayed if exchange.route is None else self._piped
        headers = ours.first + end_to_end(request.headers, ours.replaced)
        body = request.body.raw
        if body or request.method not in _BODYLESS:
            headers.append((b"Content-Length", b"%d" % len(body)))
        path = self._address.locate(request.path)
        target = path + b"?" + request.query if request.query else path
        return Outgoing(request.method, target, headers, body)

    async def _response(self, exchange: Exchange, answer: Incoming, begin_by: float | None) -> Response:
        status, headers, source = answer.status, end_to_end(answer.headers), answer.stream
        if not 200 <= status <= 599:  # no client could be told
            await source.aclose()
            raise UpstreamIncomplete(f"{self._address.url} answered with status {status}, which HTTP lacks")
        is_events = is_event_stream(headers)
        document = exchange.request.body.known
        streamed = is_events or (document is not None and document.get("stream") is True and status == 200)
        if exchange.route is not None and not streamed and exchange.request.method != "HEAD":
            # A plain answer is of no use before its last byte, and one that breaks off can still become a 502 here.
            return Response(status, headers, Payload(await self._whole(source)))
        chunks = _TimedChunks(self, source, begin_by, self._timeouts.idle) if is_events else _Chunks(self, source)
        stream = ByteStream(chunks, source.aclose)
        exchange.owns(stream)
        return Response(status, headers, stream)

    async def _whole(self, source: httpx.AsyncByteStream) -> bytes:
        try:
            chunks = [chunk async for chunk in source]
        except httpx.TransportError as error:
            raise self.explained(error) from error
        finally:
            await source.aclose()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def explained(self, error: httpx.TransportError) -> ProxyError:
        """Return our error for one of the transport."""
        url = self._address.url
        match error:
            case httpx.ConnectTimeout():
                return UpstreamTimeout(f"{url} did not accept a connection in time (timeout.connect)")
            case httpx.ConnectError():
                return UpstreamUnreachable(f"no connection to {url}: {error}; is the model server running there?")
            case httpx.LocalProtocolError():
                return InvalidHeader(f"the request cannot be sent on: {error}")
            case _:
                return UpstreamIncomplete(f"the answer of {url} broke off: {error}")

    def no_first_byte(self) -> UpstreamTimeout:
        """Return the error for a stream that did not begin."""
        return UpstreamTimeout(
            f"{self._address.url} sent no byte of the stream within {self._timeouts.first_byte} s (timeout.first_byte)"
        )

    def stalled(self) -> UpstreamStalled:
        """Return the error for a stream that paused too long."""
        return UpstreamStalled(
            f"the stream of {self._address.url} paused for more than {self._timeouts.idle} s (timeout.idle)"
        )


class _Chunks:
    """The body's chunks, with errors explained."""

    def __init__(self, upstream: Upstream, source: httpx.AsyncByteStream) -> None:
        self._upstream = upstream
        self._source: AsyncIterator[bytes] = source.__aiter__()

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._source)
        except httpx.TransportError as error:
            raise self._upstream.explained(error) from error


class _TimedChunks(_Chunks):
    """The chunks of an event stream: the first is due at a time, each later one within `idle` seconds."""

    def __init__(
        self, upstream: Upstream, source: httpx.AsyncByteStream, begin_by: float | None, idle: float | None
    ) -> None:
        super().__init__(upstream, source)
        self._begin_by = begin_by
        self._idle = idle
        self._begun = False

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle) if self._begun else asyncio.timeout_at(self._begin_by):
                chunk = await super().__anext__()
        except TimeoutError:
            raise (self._upstream.stalled() if self._begun else self._upstream.no_first_byte()) from None
        self._begun = True
        return chunk
