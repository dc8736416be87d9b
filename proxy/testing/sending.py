"""Turns a Reply into bytes on a connection, faults included."""

import asyncio
import time
from collections.abc import Iterator
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple, Protocol

from proxy.testing.recording import RecordedRequest
from proxy.testing.replies import CUTTING, Fault, Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GARBAGE = b"\x00\x01\x02 this is not HTTP\r\n\r\n"
BODILESS = frozenset({204, 304})


class Ending(Enum):
    """What the connection does after an answer."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HALF_CLOSE = "half close"
    CLOSE_ON_NEXT_REQUEST = "close on next request"


ENDINGS = {
    Fault.HALF_CLOSE: Ending.HALF_CLOSE,
    Fault.CLOSE_AFTER_ANSWER: Ending.CLOSE,
    Fault.CLOSE_ON_NEXT_REQUEST: Ending.CLOSE_ON_NEXT_REQUEST,
    Fault.WRONG_CONTENT_LENGTH: Ending.CLOSE,
}


class Wire(Protocol):
    """The sending half of a connection."""

    def write(self, data: bytes) -> None:
        """Send, or keep for sending."""

    async def drain(self) -> None:
        """Wait until everything written is with the operating system."""


class Exchange(NamedTuple):
    """A request, and whether its connection may be used again after the answer."""

    request: RecordedRequest
    keep_alive: bool


class DateClock:
    """The Date header's line, rendered once per second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        """`date: ...` with its line end."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = b"date: " + formatdate(now, usegmt=True).encode() + b"\r\n"
        return self._line


class Pace:
    """Waits between chunks, against the clock: the timers' small errors do not add up."""

    def __init__(self) -> None:
        self._due = time.monotonic()

    async def wait(self, seconds: float) -> None:
        """Wait until `seconds` after the last time; at least lets other connections have their turn."""
        self._due += seconds
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))


def immediate(reply: Reply, exchange: Exchange, clock: DateClock) -> bytes:
    """The whole answer in one piece; only for replies that are immediate. Kept for a second, for standing rules."""
    date, has_body = clock.line(), _has_body(reply, exchange.request)
    key = (exchange.keep_alive, has_body)
    kept = reply.rendered.get(key)
    if kept is not None and kept[0] is date:
        return kept[1]
    head = render_head(reply, exchange, clock)
    whole = head + reply.content if has_body else head
    reply.rendered[key] = (date, whole)
    return whole


async def send(reply: Reply, exchange: Exchange, wire: Wire, clock: DateClock) -> Ending:
    """Write the answer as the reply says and return what is to happen to the connection."""
    if reply.fault is Fault.EXTRA_CONTINUE:
        wire.write(CONTINUE)
    if reply.fault is Fault.STALL_BEFORE_HEADERS:
        await _forever()
    if reply.delay:
        await asyncio.sleep(reply.delay)
    head = render_head(reply, exchange, clock)
    match reply.fault:
        case Fault.CLOSE_BEFORE_ANSWER:
            return Ending.CLOSE
        case Fault.RESET_BEFORE_ANSWER:
            return Ending.RESET
        case Fault.CLOSE_IN_STATUS_LINE:
            return await _last_words(wire, head[: 7 if reply.after_bytes is None else reply.after_bytes])
        case Fault.GARBAGE:
            return await _last_words(wire, reply.content or GARBAGE)
        case Fault.CLOSE_AFTER_HEADERS:
            return await _last_words(wire, head)
    if not _has_body(reply, exchange.request):
        wire.write(head)
    elif reply.fault in CUTTING:
        return await _send_cut_body(reply, exchange, wire, head)
    else:
        await _send_body(reply, exchange, wire, head)
    await wire.drain()
    if reply.fault in ENDINGS:
        return ENDINGS[reply.fault]
    return Ending.KEEP if _stays_open(reply, exchange) else Ending.CLOSE


def render_head(reply: Reply, exchange: Exchange, clock: DateClock) -> bytes:
    """Status line and headers with the empty line after them."""
    given = {name.lower() for name, _ in reply.header_list}
    reason = HTTPStatus(reply.status).phrase if reply.status in HTTPStatus._value2member_map_ else ""
    lines = [f"HTTP/1.1 {reply.status} {reason}\r\n".encode()]
    if b"date" not in given:
        lines.append(clock.line())
    if b"server" not in given:
        lines.append(b"server: uvicorn\r\n")
    lines += [b"%s: %s\r\n" % header for header in reply.header_list]
    if b"content-length" not in given and b"transfer-encoding" not in given:
        lines.append(_framing_line(reply, exchange))
    if b"content-type" not in given and (reply.chunks is not None or reply.content):
        lines.append(_default_type(reply))
    if reply.gzip and b"content-encoding" not in given:
        lines.append(b"content-encoding: gzip\r\n")
    if b"connection" not in given and reply.fault not in ENDINGS and not _stays_open(reply, exchange):
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _framing_line(reply: Reply, exchange: Exchange) -> bytes:
    framing = _framing(reply, exchange.request)
    if reply.status in BODILESS or framing == "close":
        return b""
    if framing == "chunked":
        return b"transfer-encoding: chunked\r\n"
    length = reply.content_length
    if length is None:
        length = len(reply.content) if reply.chunks is None else sum(len(piece) for piece in reply.pieces())
        length += 10 if reply.fault is Fault.WRONG_CONTENT_LENGTH else 0
    return b"content-length: %d\r\n" % length


def _framing(reply: Reply, request: RecordedRequest) -> str:
    if reply.framing != "auto":
        return reply.framing
    if reply.content_length is not None or reply.chunks is None or reply.fault is Fault.WRONG_CONTENT_LENGTH:
        return "length"
    return "close" if request.http_version == "1.0" else "chunked"


def _default_type(reply: Reply) -> bytes:
    if reply.chunks is not None:
        return b"content-type: text/event-stream; charset=utf-8\r\n"
    return b"content-type: application/json\r\n"


def _stays_open(reply: Reply, exchange: Exchange) -> bool:
    return exchange.keep_alive and reply.keep_alive and _framing(reply, exchange.request) != "close"


def _has_body(reply: Reply, request: RecordedRequest) -> bool:
    return request.method != "HEAD" and reply.status not in BODILESS


async def _send_body(reply: Reply, exchange: Exchange, wire: Wire, head: bytes) -> None:
    chunked = _framing(reply, exchange.request) == "chunked"
    if reply.chunks is None and not chunked:
        wire.write(head + reply.content)
        exchange.request.chunks_sent = 1
        return
    wire.write(head)
    pace = Pace()
    for index, piece in enumerate(reply.pieces()):
        await pace.wait(reply.pause_before(index))
        wire.write(_chunk(piece) if chunked else piece)
        await wire.drain()
        exchange.request.chunks_sent = index + 1
    if chunked:
        wire.write(b"0\r\n" + b"".join(b"%s: %s\r\n" % trailer for trailer in reply.trailers) + b"\r\n")


async def _send_cut_body(reply: Reply, exchange: Exchange, wire: Wire, head: bytes) -> Ending:
    chunked = _framing(reply, exchange.request) == "chunked"
    wire.write(head)
    pace = Pace()
    for index, (piece, keep) in enumerate(_cut(reply)):
        await pace.wait(reply.pause_before(index))
        # A chunk cut in the middle announces its full size, as a server that dies does.
        framed = _chunk(piece) if keep == len(piece) else b"%x\r\n" % len(piece) + piece[:keep]
        wire.write(framed if chunked else piece[:keep])
        await wire.drain()
        exchange.request.chunks_sent = index + 1
    await wire.drain()
    if reply.fault is Fault.STALL_IN_BODY:
        await _forever()
    return Ending.RESET if reply.fault is Fault.RESET_IN_BODY else Ending.CLOSE


def _cut(reply: Reply) -> Iterator[tuple[bytes, int]]:
    """The parts before the fault, each with the number of its bytes that are sent."""
    if reply.after_bytes is None and reply.chunks is not None:
        count = 1 if reply.after_chunks is None else reply.after_chunks
        for _, piece in zip(range(count), reply.pieces(), strict=False):
            yield piece, len(piece)
        return
    left = len(reply.content) // 2 if reply.after_bytes is None else reply.after_bytes
    for piece in reply.pieces():
        if left <= 0:
            return
        yield piece, min(left, len(piece))
        left -= len(piece)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


async def _last_words(wire: Wire, data: bytes) -> Ending:
    wire.write(data)
    await wire.drain()
    return Ending.CLOSE


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
