"""aiohttp under the `httpx.AsyncBaseTransport` seam: a fraction of the cost of httpx's own pool, and exact errors."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from yarl import URL

from proxy.upstream.sockets import keep_alive

_NO_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_IDLE = 15.0
"""Seconds that an idle connection is kept for the next request."""

_CONNECT_ERRORS = (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError)
_CONNECT_TIMEOUTS = (aiohttp.ConnectionTimeoutError,)


class _Watched(ResponseHandler):
    """A connection whose errors tell whether any byte of the answer had arrived; aiohttp's own do not.

    `on_lapse` is called when the server ends it while nothing is asked and nothing had announced the end.
    """

    answer_begun = False

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lapse: Callable[[], None]) -> None:
        super().__init__(loop)
        self._on_lapse = on_lapse

    def eof_received(self) -> None:
        if not self.should_close:
            self._on_lapse()
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None and not self.should_close:
            self._on_lapse()
        super().connection_lost(exc)

    def set_response_params(self, **options: Any) -> None:
        self.answer_begun = False
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        self.answer_begun = True
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        exc.answer_begun = self.answer_begun  # type: ignore[attr-defined]
        super().set_exception(exc, *cause)


class _DeadConnection(Exception):
    """A reused connection was closed before any byte of the answer, so the request may be sent again."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests exactly as given: no headers of its own, no cookie jar, no redirects, no decoding.

    Request extensions it reads: `timeout` (httpx's form; only `connect`, in seconds) and `target` (the raw request
    target, as in httpcore). A request is sent a second time only if the connection was reused and the server had
    closed it before any byte of the answer, which is how servers end idle connections.

    Raises (from `handle_async_request` and from iterating the response's stream):
        httpx.ConnectError: no connection (refused, unknown host, TLS).
        httpx.ConnectTimeout: no connection within `connect` seconds.
        httpx.RemoteProtocolError: the server closed early or did not speak HTTP.
        httpx.ReadError: the connection broke.
    """

    def __init__(self, on_doubt: Callable[[], None] | None = None, on_lapse: Callable[[], None] | None = None) -> None:
        """`on_doubt` is called when a connection fails, `on_lapse` when the server ends an idle one."""
        self.on_doubt = on_doubt or _ignore
        self.on_lapse = on_lapse or _ignore
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AiohttpTransport:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_mark_reused)
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=_IDLE,
            socket_factory=_keepalive_socket,
        )
        watched = functools.partial(_Watched, asyncio.get_running_loop(), self._lapsed)
        connector._factory = watched  # type: ignore[assignment]  # noqa: SLF001
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NO_AUTO_HEADERS,
            trace_configs=[trace],
            max_line_size=65_536,
            max_field_size=65_536,
        )
        # aiohttp would send idempotent requests again on fresh connections too; the rule here is ours.
        self._session._retry_connection = False  # noqa: SLF001
        return self

    def _lapsed(self) -> None:
        self.on_lapse()  # looked up late, because it may be set after the transport is open

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response as soon as its headers are here; its stream yields raw bytes as they arrive."""
        while True:  # each round uses up one dead idle connection; a fresh one that fails raises
            try:
                return await self._send(request)
            except _DeadConnection:
                continue

    async def _send(self, request: httpx.Request) -> httpx.Response:
        assert self._session is not None, "use the transport as an async context manager"
        connection = SimpleNamespace(reused=False)
        url = request.url
        path, _, query = _text(request.extensions.get("target") or url.raw_path).partition("?")
        if not path.startswith("/"):  # anything else could run together with the authority
            raise httpx.LocalProtocolError(f"the request target {path!r} does not begin with /")
        headers = [(_text(name), _text(value)) for name, value in request.headers.raw]
        try:
            response = await self._session.request(
                request.method,
                URL.build(
                    scheme=url.scheme, authority=url.netloc.decode("ascii"), path=path, query_string=query, encoded=True
                ),
                headers=headers,
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=(request.extensions.get("timeout") or {}).get("connect")
                ),
                trace_request_ctx=connection,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if not isinstance(error, ValueError):  # those never reached the server
                self.on_doubt()
            if connection.reused and _no_byte_arrived(error):
                raise _DeadConnection from error
            raise _mapped(error, request) from error
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response, request, self.on_doubt),
            extensions={"reason_phrase": (response.reason or "").encode("latin-1", "replace")},
        )


class _Body(httpx.AsyncByteStream):
    """The raw body, as it arrives. Reading is pulled by the client, so a slow one holds the server back."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request, on_doubt: Callable[[], None]) -> None:
        self._response = response
        self._request = request
        self._on_doubt = on_doubt

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        content = self._response.content
        try:
            chunk = await content.readany()
        except (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError) as error:
            self._on_doubt()
            # aiohttp raises before it has handed out what arrived until then; that is the client's all the same.
            chunk = content._read_nowait(-1)  # noqa: SLF001
            if not chunk:
                raise _mapped(error, self._request) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Give the connection back after the last byte; before it, close it, which the server sees."""
        if self._response.content.at_eof() and self._response.content.exception() is None:
            self._response.release()
        else:
            self._response.close()


def _ignore() -> None:
    """Nobody wants to know."""


async def _mark_reused(session: Any, context: SimpleNamespace, params: Any) -> None:
    context.trace_request_ctx.reused = True


def _keepalive_socket(address: Any) -> socket.socket:
    family, kind, protocol, _name, _address = address
    made = socket.socket(family, kind, protocol)
    keep_alive(made)
    return made


def _text(raw: bytes) -> str:
    """aiohttp writes str as UTF-8; bytes that are not UTF-8 cannot pass it unchanged."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise httpx.LocalProtocolError(f"{raw!r} is not UTF-8") from None


def _no_byte_arrived(error: BaseException) -> bool:
    closed = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError)
    return closed and not getattr(error, "answer_begun", False)


def _mapped(error: BaseException, request: httpx.Request) -> httpx.TransportError:
    text = str(error) or type(error).__name__
    if isinstance(error, ValueError):  # before it is a ClientError: aiohttp's InvalidURL is both
        return httpx.LocalProtocolError(text, request=request)
    if isinstance(error, _CONNECT_TIMEOUTS):
        return httpx.ConnectTimeout(text, request=request)
    if isinstance(error, _CONNECT_ERRORS):
        reason = getattr(error, "os_error", None)  # without aiohttp's words around it
        return httpx.ConnectError(getattr(reason, "strerror", None) or str(reason or text), request=request)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError("the server closed the connection", request=request)
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError | HttpProcessingError):
        return httpx.RemoteProtocolError(text, request=request)
    if isinstance(error, asyncio.TimeoutError):
        return httpx.ReadTimeout(text, request=request)
    return httpx.ReadError(text, request=request)
