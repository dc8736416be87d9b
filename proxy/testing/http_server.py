"""A small HTTP/1.1 server whose every byte is under the control of the test."""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

from proxy.testing.recording import RecordedRequest, Recorder
from proxy.testing.replies import Reply
from proxy.testing.request_reader import RequestReader
from proxy.testing.sending import CONTINUE, DateClock, Ending, Exchange, immediate, send

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(slots=True)
class ConnectionLimits:
    """When a server gives a connection up. Read at every request, so it may be changed while the server runs."""

    max_requests: int | None = None
    """Requests answered on one connection; the last answer announces `Connection: close`."""
    idle_timeout: float | None = None
    """Seconds after an answer until a connection without a request is closed, unannounced."""


@dataclass(slots=True)
class ServerContext:
    """What all connections of one server share."""

    decide: Callable[[RecordedRequest], Reply]
    decide_early: Callable[[RecordedRequest], Reply | None]
    """Called at the end of the headers; a reply returned here is sent without waiting for the body."""
    recorder: Recorder
    limits: ConnectionLimits
    clock: DateClock = field(default_factory=DateClock)
    connections: set["Connection"] = field(default_factory=set)
    connections_total: int = 0

    def busy(self) -> int:
        """Connections on which an answer is being worked on."""
        return sum(connection.is_busy for connection in self.connections)


class Connection(asyncio.Protocol):
    """One client connection: answers requests one after the other and notices when the client leaves."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: deque[Exchange] = deque()  # complete requests not yet answered (pipelining)
        self._early: tuple[Reply, Exchange] | None = None  # an answer that does not wait for its request's body
        self._early_request: RecordedRequest | None = None
        self._active: RecordedRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._served = 0
        self._doomed = False

    # -- called by the transport ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        self._transport = cast(asyncio.Transport, transport)
        # No buffer of our own: a write goes to the socket at once, and drain() means that the operating system has it.
        self._transport.set_write_buffer_limits(high=0)
        self._context.connections_total += 1
        self._context.connections.add(self)
        self._reader = RequestReader(self._context.connections_total, self)

    def data_received(self, data: bytes) -> None:
        """Parse, then answer what is complete."""
        if self._doomed:
            self._transport.close()
            return
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            self._reader.feed(data)
        except httptools.HttpParserError:
            self._transport.write(BAD_REQUEST)
            self._transport.close()
            return
        self._answer_waiting()

    def eof_received(self) -> None:
        """Take a closed sending side for a client that left, as most servers do; the transport then closes itself."""
        self._client_left()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._client_left()
        if self._idle is not None:
            self._idle.cancel()
        self._context.connections.discard(self)
        self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Make drain() wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let drain() go on."""
        self._writable.set()

    # -- called by the request reader ----------------------------------------------------------------------------------

    def head_arrived(self, request: RecordedRequest, keep_alive: bool) -> None:
        """Look whether an answer is wanted before the body."""
        early = None
        if self._active is None and not self._waiting:
            early = self._context.decide_early(request)
        if early is not None:
            self._early = (early, Exchange(request, keep_alive))
            self._early_request = request
        elif (request.header("expect") or "").lower() == "100-continue":
            self._transport.write(CONTINUE)

    def request_arrived(self, request: RecordedRequest, keep_alive: bool) -> None:
        """Queue the request, unless its answer did not wait for it."""
        if request is not self._early_request:
            self._waiting.append(Exchange(request, keep_alive))

    @property
    def is_busy(self) -> bool:
        """True while an answer is being worked on."""
        return self._active is not None

    # -- called by the sender and the server ---------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, or keep for sending."""
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until everything written is with the operating system."""
        await self._writable.wait()

    async def shut_down(self) -> None:
        """Drop the connection because the server stops; returns when it is gone."""
        self._active = self._reader.pending = None
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()
        await self._lost

    # -- answering -----------------------------------------------------------------------------------------------------

    def _answer_waiting(self) -> None:
        if self._early is not None:
            (reply, exchange), self._early = self._early, None
            self._context.recorder.add(exchange.request)
            self._start(reply, exchange)
        while self._waiting and self._active is None and not self._transport.is_closing():
            exchange = self._within_limits(self._waiting.popleft())
            self._context.recorder.add(exchange.request)
            self._start(self._context.decide(exchange.request), exchange)

    def _within_limits(self, exchange: Exchange) -> Exchange:
        limit = self._context.limits.max_requests
        return exchange if limit is None or self._served + 1 < limit else exchange._replace(keep_alive=False)

    def _start(self, reply: Reply, exchange: Exchange) -> None:
        self._active = exchange.request
        if reply.is_immediate:
            self._transport.write(immediate(reply, exchange, self._context.clock))
            exchange.request.chunks_sent = 1
            self._end(Ending.KEEP if exchange.keep_alive and reply.keep_alive else Ending.CLOSE)
        else:
            self._task = self._loop.create_task(self._send(reply, exchange))

    async def _send(self, reply: Reply, exchange: Exchange) -> None:
        ending = await send(reply, exchange, self, self._context.clock)
        self._task = None
        self._end(ending)
        self._answer_waiting()

    def _end(self, ending: Ending) -> None:
        request, self._active = self._active, None
        self._served += 1
        match ending:
            case Ending.CLOSE:
                self._reader.pending = None
                self._transport.close()
            case Ending.RESET:
                self._reset()
            case Ending.HALF_CLOSE:
                self._transport.write_eof()
            case Ending.CLOSE_ON_NEXT_REQUEST:
                self._doomed = True
            case Ending.KEEP:
                self._watch_idle()
        if request is not None:
            request.answered.set()

    def _watch_idle(self) -> None:
        timeout = self._context.limits.idle_timeout
        if timeout is not None and not self._waiting:
            self._idle = self._loop.call_later(timeout, self._transport.close)

    def _reset(self) -> None:
        # Event loops hand out sockets on which no option can be set; a duplicate descriptor is the same socket.
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _client_left(self) -> None:
        unread, self._reader.pending = self._reader.pending, None
        if unread is not None and unread is not self._early_request:
            self._context.recorder.add_incomplete(unread)
        self._waiting.clear()
        request, self._active = self._active, None
        if request is None:
            return
        request.aborted.set()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._transport.abort()
