"""What a scripted answer looks like, and the ways in which it can go wrong on the wire."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Literal

from proxy.testing.jsonio import dumps

Header = tuple[bytes, bytes]
Headers = Mapping[str, str] | Iterable[Header]
Framing = Literal["auto", "length", "chunked", "close"]


class Fault(Enum):
    """A way in which a server fails; `after_bytes` and `after_chunks` of the reply say where in a body it happens."""

    CLOSE_BEFORE_ANSWER = "close before answer"
    """The connection is closed (FIN) before any byte of the answer."""
    RESET_BEFORE_ANSWER = "reset before answer"
    """The connection is reset (RST) before any byte of the answer."""
    CLOSE_IN_STATUS_LINE = "close in status line"
    """`after_bytes` (default 7) bytes of the status line, then the connection is closed."""
    GARBAGE = "garbage"
    """Bytes that are not HTTP, then the connection is closed. A `body` given to the reply is used as the garbage."""
    CLOSE_AFTER_HEADERS = "close after headers"
    """Status and headers, promising a body, then the connection is closed."""
    CLOSE_IN_BODY = "close in body"
    """The body is cut (see `Reply.after_bytes`) by closing the connection."""
    RESET_IN_BODY = "reset in body"
    """The body is cut (see `Reply.after_bytes`) by resetting the connection."""
    STALL_BEFORE_HEADERS = "stall before headers"
    """No answer at all, until the client leaves or the server stops."""
    STALL_IN_BODY = "stall in body"
    """The body stops (see `Reply.after_bytes`) and nothing more comes, until the client leaves or the server stops."""
    ANSWER_BEFORE_BODY = "answer before body"
    """The answer is sent as soon as the request's headers are there. The request body is then read and dropped, or not
    read at all and the connection closed where the reply has `keep_alive=False`."""
    HALF_CLOSE = "half close"
    """The whole answer, then the server's sending side is closed without having announced it; it goes on reading."""
    CLOSE_AFTER_ANSWER = "close after answer"
    """The whole answer as if the connection stayed open, then it is closed at once, unannounced."""
    CLOSE_ON_NEXT_REQUEST = "close on next request"
    """The whole answer, and the connection stays open; it is closed when the first byte of the next request arrives on
    it. That request is neither answered nor recorded: the classic race of keep-alive connections."""
    WRONG_CONTENT_LENGTH = "wrong content length"
    """More bytes are announced than come (`content_length`, default 10 too many), then the connection is closed."""
    EXTRA_CONTINUE = "extra continue"
    """An unasked `100 Continue` before the real answer, which is otherwise fine."""


CUTTING = frozenset({Fault.CLOSE_IN_BODY, Fault.RESET_IN_BODY, Fault.STALL_IN_BODY})


@dataclass(frozen=True)
class Reply:
    """One scripted answer. Give at most one of `body`, `json` and `chunks`; everything has a default that works.

    Raises ValueError for combinations that mean nothing.
    """

    status: int = 200
    headers: Headers = ()
    """Sent as given, in order, duplicates included. Framing headers, Content-Type, Date and Server are added if absent.
    Pairs of bytes, or a mapping of strings."""
    body: bytes = b""
    json: Any = ...
    """A value sent as compact JSON (None is sent as `null`)."""
    chunks: Iterable[bytes] | None = None
    """Parts of the body, each written to the socket on its own. A list may be used by many requests, a generator by
    one. Content-Type is `text/event-stream` unless given."""
    delay: float = 0.0
    """Seconds before the first byte of the answer."""
    chunk_delay: float | Callable[[int], float] = 0.0
    """Seconds before each chunk after the first, or a function from the chunk's index to seconds."""
    fault: Fault | None = None
    after_bytes: int | None = None
    """For faults in the body: payload bytes sent before it (chunk framing not counted). Default: half of a `body`."""
    after_chunks: int | None = None
    """For faults in the body: chunks sent before it. Default for `chunks`: 1."""
    keep_alive: bool = True
    """False announces `Connection: close` and closes after the answer."""
    content_length: int | None = None
    """Announce this length whatever the body is. The connection is left as `keep_alive` says."""
    framing: Framing = "auto"
    """How the end of the body is marked; auto = `chunked` for chunks (`close` to HTTP/1.0 clients), else `length`."""
    trailers: Iterable[Header] = ()
    """Header fields after a chunked body."""
    gzip: bool = False
    """Compress the body whether the client asked for it or not, each chunk flushed on its own."""

    def __post_init__(self) -> None:
        bodies = [name for name, given in self._bodies_given().items() if given]
        if len(bodies) > 1:
            raise ValueError(f"a reply has one body, but {' and '.join(bodies)} were given; keep one of them")
        if self.after_bytes is not None and self.after_chunks is not None:
            raise ValueError("after_bytes and after_chunks both say where the fault is; give one of them")
        if self.after_chunks is not None and self.chunks is None:
            raise ValueError("after_chunks needs chunks; use after_bytes for a plain body")
        if self.trailers and self.chunks is None:
            raise ValueError("trailers come after a chunked body; give the body as chunks=[...]")

    def _bodies_given(self) -> dict[str, bool]:
        return {"body": bool(self.body), "json": self.json is not ..., "chunks": self.chunks is not None}

    @cached_property
    def content(self) -> bytes:
        """The plain body as sent, b"" where `chunks` are given."""
        body = self.body if self.json is ... else dumps(self.json)
        return zlib.compress(body, wbits=31) if self.gzip and body else body

    @cached_property
    def header_list(self) -> list[Header]:
        """The given headers as pairs of bytes."""
        if isinstance(self.headers, Mapping):
            return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        return list(self.headers)

    @cached_property
    def rendered(self) -> dict[tuple[bool, bool], tuple[bytes, bytes]]:
        """The sender's notes: whole answers, each with the Date line it was made for."""
        return {}

    @property
    def is_immediate(self) -> bool:
        """True where the whole answer can be written at once: no chunks, no delay, no fault, no odd framing."""
        return self.chunks is None and not self.delay and self.fault is None and self.framing in ("auto", "length")

    def pieces(self) -> Iterator[bytes]:
        """The body in the parts in which it is written; empty parts are left out."""
        if self.chunks is None:
            if self.content:
                yield self.content
        elif self.gzip:
            yield from _gzip_each(self.chunks)
        else:
            yield from (chunk for chunk in self.chunks if chunk)

    def pause_before(self, index: int) -> float:
        """Seconds to wait before the chunk of this index (from 0)."""
        if index == 0 or self.chunks is None:
            return 0.0
        return self.chunk_delay(index) if callable(self.chunk_delay) else self.chunk_delay


def _gzip_each(chunks: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(wbits=31)
    for chunk in chunks:
        if chunk:
            yield compressor.compress(chunk) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()
