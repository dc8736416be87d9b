"""HTTP/1.1 to a plain `http://` server under the `httpx.AsyncBaseTransport` seam: a fraction of a general client."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import NamedTuple

import httpx

from proxy.core.http import Headers
from proxy.upstream.connection import Connection, DeadConnection

IDLE = 15.0
"""Seconds that an idle connection is kept for the next request."""

_Origin = tuple[str, int]
"""Host and port."""
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Outgoing(NamedTuple):
    """A request as it goes over the wire."""

    method: str
    target: bytes
    """Of the request line, raw."""
    headers: Headers
    body: bytes


class Incoming(NamedTuple):
    """An answer at its headers; `stream` yields the raw bytes as they arrive, and has to be closed."""

    status: int
    headers: Headers
    stream: httpx.AsyncByteStream
    reason: bytes = b""


class Http1Transport(httpx.AsyncBaseTransport):
    """Sends requests exactly as given: no headers of its own, no cookie jar, no redirects, no decoding.

    Request extensions it reads: `timeout` (httpx's form; only `connect`, in seconds) and `target` (the raw request
    target, as in httpcore). A request is sent a second time only if the connection was reused and the server had
    closed it before any byte of the answer, which is how servers end idle connections.

    Raises (from `handle_async_request` and from iterating the response's stream):
        httpx.ConnectError: no connection (refused, unknown host).
        httpx.ConnectTimeout: no connection within `connect` seconds.
        httpx.RemoteProtocolError: the server closed early or did not speak HTTP.
        httpx.ReadError: the connection broke.
        httpx.LocalProtocolError: the request cannot be sent as it is.
    """

    def __init__(self, on_doubt: Callable[[], None] | None = None, on_lapse: Callable[[], None] | None = None) -> None:
        """`on_doubt` is called when a connection fails, `on_lapse` when the server ends an idle one."""
        self.on_doubt = on_doubt or _ignore
        self.on_lapse = on_lapse or _ignore
        self._idle: dict[_Origin, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Http1Transport:
        return self

    async def aclose(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._open):
            connection.close()
        self._idle.clear()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response as soon as its headers are here; its stream yields raw bytes as they arrive."""
        stream, url = request.stream, request.url
        body = b"".join(stream) if isinstance(stream, httpx.ByteStream) else await request.aread()
        target = request.extensions.get("target") or url.raw_path
        outgoing = Outgoing(request.method, target, request.headers.raw, body)
        connect = (request.extensions.get("timeout") or {}).get("connect")
        answer = await self.ask((url.host, url.port or 80), outgoing, connect=connect)
        extensions = {"reason_phrase": answer.reason}
        return httpx.Response(answer.status, headers=answer.headers, stream=answer.stream, extensions=extensions)

    async def ask(self, origin: _Origin, outgoing: Outgoing, *, connect: float | None) -> Incoming:
        """Do the same without httpx's requests and responses; `connect` is in seconds, None waits for ever."""
        data = head_of(outgoing), outgoing.body
        while True:  # each round uses up one dead idle connection; a fresh one that fails raises
            connection = self._reusable(origin) or await self._connect(origin, connect)
            try:
                await connection.ask(data, is_head=outgoing.method == "HEAD")
            except DeadConnection:
                self.on_doubt()
                continue
            except httpx.TransportError:
                self.on_doubt()
                raise
            except BaseException:
                connection.close()
                raise
            return Incoming(connection.status, connection.headers, _Body(self, connection, origin), connection.reason)

    def _reusable(self, origin: _Origin) -> Connection | None:
        idle = self._idle.get(origin)
        oldest = asyncio.get_running_loop().time() - IDLE
        while idle:
            connection = idle.pop()  # the last one used: the others may be closed by the sweep
            if not connection.closed and connection.idle_since > oldest and not connection.has_unread():
                return connection
            connection.close()
        return None

    async def _connect(self, origin: _Origin, patience: float | None) -> Connection:
        connection = Connection(self._lapsed, self._open.discard)
        try:
            async with asyncio.timeout(patience):
                await asyncio.get_running_loop().create_connection(lambda: connection, *origin)
        except TimeoutError:
            self.on_doubt()
            raise httpx.ConnectTimeout(f"no connection within {patience} s") from None
        except OSError as error:
            self.on_doubt()
            raise httpx.ConnectError(error.strerror or str(error)) from error
        except UnicodeError as error:  # a host name that is none
            raise httpx.ConnectError(str(error)) from error
        if not connection.closed:
            self._open.add(connection)
        return connection

    def _lapsed(self) -> None:
        self.on_lapse()  # looked up late, because it may be set after the transport is open

    def release(self, connection: Connection, origin: _Origin) -> None:
        """Keep a connection for the next request, or close it where its answer is not whole or its last."""
        if not connection.finish():
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(origin, deque()).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE, self._close_idle)

    def _close_idle(self) -> None:
        """Close what has not been used for `IDLE` seconds."""
        self._sweep = None
        loop = asyncio.get_running_loop()
        for idle in self._idle.values():
            while idle and (idle[0].closed or idle[0].idle_since <= loop.time() - IDLE):
                idle.popleft().close()
            if idle and self._sweep is None:
                self._sweep = loop.call_later(IDLE / 3, self._close_idle)


class _Body(httpx.AsyncByteStream):
    """The raw body, as it arrives. Reading is pulled by the client, so a slow one holds the server back."""

    __slots__ = ("_connection", "_is_whole", "_origin", "_transport")

    def __init__(self, transport: Http1Transport, connection: Connection, origin: _Origin) -> None:
        self._transport = transport
        self._connection: Connection | None = connection
        self._origin = origin
        self._is_whole = False  # its end has been read

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            if self._is_whole:
                raise StopAsyncIteration
            raise httpx.ReadError("the answer was closed before its end")
        try:
            chunk = self._connection.arrived() or await self._connection.chunk()
        except httpx.TransportError:
            self._transport.on_doubt()
            raise
        if not chunk:
            self._is_whole = True
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Give the connection back after the last byte; before it, close it, which the server sees."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.release(connection, self._origin)


def head_of(request: Outgoing) -> bytes:
    """Return a request as it goes over the wire, up to its body.

    Raises:
        httpx.LocalProtocolError: its target or a header field would say something else there.
    """
    target = request.target
    if not target.startswith(b"/"):  # anything else could run together with the authority
        raise httpx.LocalProtocolError(f"the request target {target!r} does not begin with /")
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), target)]
    for name, value in request.headers:
        if not _is_token(name):
            raise httpx.LocalProtocolError(f"{name!r} is no name of a header field")
        lines.append(name + b": " + value)
    head = b"\r\n".join(lines)
    ends = len(lines) - 1
    if head.count(b"\r") != ends or head.count(b"\n") != ends or b"\0" in head or target.count(b" "):
        raise httpx.LocalProtocolError("the request line or a header field holds a line break, a zero or a space")
    with contextlib.suppress(UnicodeDecodeError):
        head.decode("utf-8")
        return head + b"\r\n\r\n"
    raise httpx.LocalProtocolError("the request line or a header field is not UTF-8")


@lru_cache(maxsize=1024)
def _is_token(name: bytes) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _ignore() -> None:
    """Nobody wants to know."""
