"""One connection to a model server: a request goes out whole, its answer comes in as it arrives."""

from __future__ import annotations

import asyncio
import fcntl
import termios
from collections.abc import Callable
from typing import cast

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.core.http import Headers
from proxy.upstream.sockets import keep_alive

_LARGEST_HEAD = 256 * 1024
"""Bytes of status line and header fields that are read."""
_HIGH_WATER = 256 * 1024
"""Bytes that wait for the reader; beyond them the server is held back."""
_BODYLESS = frozenset({204, 304})
_READ = frozenset({None, b"chunked", b"identity"})
"""Transfer codings of the answers that are read; no other is asked for."""
_NONE = bytes(4)
_CLOSED = "the server closed the connection"


class DeadConnection(Exception):
    """A reused connection was closed before any byte of the answer, so the request may be sent again."""


class Connection(asyncio.Protocol):
    """Answers one request at a time.

    Args:
        on_lapse: called when the server ends it while nothing is asked and nothing had announced the end.
        on_close: called with it once it is closed, by whomever.

    Attributes:
        status, reason, headers: of the answer, once `ask` has returned.
        idle_since: when it was last given back, in the loop's time.
    """

    def __init__(self, on_lapse: Callable[[], None], on_close: Callable[[Connection], object]) -> None:
        self._on_lapse = on_lapse
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._asked = 0  # requests so far
        self._busy = False
        self._closing = False
        self.idle_since = 0.0
        self._begin(is_head=False)

    def _begin(self, *, is_head: bool) -> None:
        self._parser = HttpResponseParser(self)
        self._is_head = is_head
        self._begun = False  # a byte of the answer has arrived
        self._has_headers = False
        self._whole = False
        self._last = False  # no other answer can follow on this connection
        self._until_close = False
        self._head_size = 0
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._error: httpx.TransportError | None = None
        self.status = 0
        self.reason = b""
        self.headers: Headers = []

    # -- what the transport does with it -------------------------------------------------------------------------------

    async def ask(self, request: tuple[bytes, bytes], *, is_head: bool) -> None:
        """Send a request (head and body) and return when the headers of its answer are here.

        Raises:
            DeadConnection: the server had ended the connection, and the request may be sent again on another.
            httpx.RemoteProtocolError: the server closed early or does not speak HTTP.
            httpx.ReadError: the connection broke.
        """
        self._begin(is_head=is_head)
        if self.closed or self._transport is None:  # a fresh one: the server hung up as soon as it had it
            self.close()
            raise httpx.RemoteProtocolError(_CLOSED)
        self._busy = True
        self._asked += 1
        self._transport.writelines(request)
        while not self._has_headers:
            if self._error is not None:
                self.close()
                raise (DeadConnection if self._asked > 1 and not self._begun else self._error)
            await self._wait()

    def arrived(self) -> bytes:
        """Return what has arrived of the body, nothing where it is not there yet."""
        chunks = self._chunks
        if not chunks:
            return b""
        self._chunks, self._size = [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunk(self) -> bytes:
        """Return what arrives next of the body, nothing at its end. Raises what `ask` raises."""
        while not self._chunks and not self._whole:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self.arrived()

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._closing or self._transport is None

    def has_unread(self) -> bool:
        """Return whether bytes lie in the socket: nobody asked for them, and they are no answer to what is asked next.

        The loop hands them over only in its next turn, when a request may be out already.
        """
        assert self._transport is not None
        try:
            waiting = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.FIONREAD, _NONE)
        except OSError:  # it is closed already, which the loop will tell
            return True
        return waiting != _NONE

    def finish(self) -> bool:
        """Give up the answer, and return whether another request can be sent: all of it is here, and it is no last."""
        self._busy = False
        if self.closed or not self._whole or self._last:
            return False
        assert self._transport is not None
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return not self._transport.get_write_buffer_size()  # an early answer: the server still gets the request

    def close(self) -> None:
        """Close it at once, which the server sees."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what the socket does to it ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._whole:  # nobody asked for this
            self._last = True
            if not self._busy:
                self.close()
            return
        self._begun = True
        if not self._has_headers:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._fail(httpx.RemoteProtocolError("the server switched protocols, and nobody had asked it to"))
        except HttpParserError as error:
            if not self._whole:
                self._fail(httpx.RemoteProtocolError(f"the server does not speak HTTP/1.1: {error}"))
            self._last = True
        if not self._has_headers and self._head_size > _LARGEST_HEAD:
            self._fail(httpx.RemoteProtocolError(f"the server sent more than {_LARGEST_HEAD} bytes of header fields"))
        self._wake()

    def eof_received(self) -> bool:
        self._ended(None)
        return False  # the other half is closed, too

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)
        self._transport = None
        self._on_close(self)

    def _ended(self, error: Exception | None) -> None:
        """Take the end of the connection for that of the answer, if it is one."""
        if self._closing:
            if self._error is None and not self._whole:
                self._error = httpx.ReadError("the connection was closed")
            self._wake()
            return
        self._closing = True
        if not self._busy:
            self._on_lapse()
        elif self._until_close and error is None:
            self._whole = self._last = True
        elif not self._whole:
            self._fail(
                httpx.RemoteProtocolError(_CLOSED) if error is None else httpx.ReadError(str(error) or repr(error))
            )
        self._wake()

    def _fail(self, error: httpx.TransportError) -> None:
        if self._error is None:
            self._error = error
        self._last = True

    # -- what the parser finds -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._whole:  # behind the answer comes what nobody asked for
            self._last = True

    def on_status(self, reason: bytes) -> None:
        if not self._whole:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_headers:  # else it is a trailer
            self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        if self._whole or self._has_headers:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        coding = _transfer_coding(self.headers)
        if coding not in _READ:  # who gets the body would not learn how to read it
            self._fail(httpx.RemoteProtocolError(f"the server sent Transfer-Encoding {coding!r}; only chunked is read"))
            return
        self.status = status
        self._last = not self._parser.should_keep_alive()
        self._has_headers = True
        if self._is_head or status in _BODYLESS:
            self._whole = True
        else:
            sized = coding == b"chunked" or any(name.lower() == b"content-length" for name, _ in self.headers)
            self._until_close = not sized

    def on_body(self, chunk: bytes) -> None:
        if self._is_head or (self._whole and self._last):
            self._last = True
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self._has_headers:  # of an interim answer
            self.headers, self.reason = [], b""
        elif not self._is_head:
            self._whole = True


def _transfer_coding(headers: Headers) -> bytes | None:
    """Return what the Transfer-Encoding fields say together, None without any."""
    values = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
    return b", ".join(values) if values else None
