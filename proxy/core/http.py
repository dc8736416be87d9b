"""Requests, responses and the exchange that joins them. Bytes are the truth; parsing is on demand."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from proxy.core.difference import Difference, differences, snapshot
from proxy.core.document import Document, encode, read
from proxy.core.errors import InvalidJson, NotAnObject, NotEditable, ProxyError
from proxy.core.ledger import Ledger
from proxy.core.stream import ByteStream, Outcome, Tap

Headers = list[tuple[bytes, bytes]]
"""Header fields in wire order, duplicates kept. Names of received requests are lower case."""

T = TypeVar("T")


def get_header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of `name` (given in lower case), None where it is absent."""
    for key, value in headers:
        if key == name or key.lower() == name:
            return value
    return None


def without_headers(headers: Headers, names: frozenset[bytes]) -> Headers:
    """Return the fields whose lower-case name is not in `names`."""
    return [item for item in headers if item[0].lower() not in names]


class Payload:
    """A complete body. The bytes are authoritative: they are what is sent, unless `edit` was called."""

    __slots__ = ("_apart", "_before", "_dirty", "_document", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._document: Document | None = None
        self._dirty = False
        self._apart = False  # whether the bytes are another version than `_before`
        self._before: Any = None

    @property
    def parsed(self) -> Document:
        """The document, parsed once.

        Raises:
            InvalidJson: the bytes are not JSON.
            NotAnObject: they are, but not an object.
        """
        if self._document is None:
            try:
                document = read(self._raw)
            except ValueError as error:
                raise InvalidJson(f"the request body is not JSON: {error}") from None
            if type(document.value) is not dict:
                raise NotAnObject(f"the request body must be a JSON object, not {_json_type(document.value)}")
            self._document = document
        return self._document

    @property
    def json(self) -> Mapping[str, Any]:
        """The document, for reading. Raises what `parsed` raises."""
        return self.parsed.value  # type: ignore[no-any-return]

    @property
    def known(self) -> Mapping[str, Any] | None:
        """The document where somebody has parsed it already; never parses."""
        return None if self._document is None else self._document.value

    @property
    def exact(self) -> bool:
        """Whether strict JSON reads these bytes, so that an edit can write them again without a change of meaning."""
        return self.parsed.exact

    def edit(self) -> dict[str, Any]:
        """Return the document for changing; it is encoded again when `raw` is next read.

        Where nothing is changed by then, the bytes stay as they are.

        Raises:
            NotEditable: only lenient parsers read it, so encoding it again would change more than the edit; or it is
                nested too deeply.
        """
        document = self.parsed
        if not document.exact:
            raise NotEditable(
                "the request body holds what strict JSON cannot carry (NaN, duplicate keys, a lone surrogate or bytes "
                "that are not UTF-8) and an interceptor has to change it; send strict JSON, or remove the interceptor"
            )
        if self._before is None:
            try:
                self._before = snapshot(document.value)
            except RecursionError as error:
                raise _unwritable(error) from None
            self._apart = self._dirty
        self._dirty = True
        return document.value  # type: ignore[no-any-return]

    @property
    def touched(self) -> bool:
        """Whether it was edited since `differences` was last asked."""
        return self._before is not None

    def differences(self) -> list[Difference]:
        """Return what edits have changed since this was last asked.

        Raises:
            NotEditable: an edit put something into the document that JSON cannot carry.
        """
        before, self._before = self._before, None
        if before is None:
            return []
        try:
            found = differences(before, self.json)
        except (ValueError, RecursionError) as error:
            raise _unwritable(error) from None
        if not found:
            self._dirty = self._apart
        return found

    @property
    def raw(self) -> bytes:
        """The bytes to send.

        Raises:
            NotEditable: an edit put something into the document that JSON cannot carry.
        """
        if self._dirty:
            assert self._document is not None
            value = self._document.value
            try:
                if self._apart or self._before is None or differences(self._before, value):
                    self._raw = encode(value)
                    self._apart = True
            except (ValueError, RecursionError) as error:
                raise _unwritable(error) from None
            self._dirty = False
        return self._raw

    def __len__(self) -> int:
        return len(self.raw)


def _unwritable(error: Exception) -> NotEditable:
    return NotEditable(f"the changed request body cannot be written as JSON: {error}")


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


class Request:
    """What goes upstream. Interceptors replace `headers` as a whole and change the body through `Payload.edit`."""

    __slots__ = ("body", "headers", "method", "path", "query")

    def __init__(self, method: str, path: bytes, query: bytes, headers: Headers, body: Payload) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body

    @property
    def target(self) -> bytes:
        """Path and query as they stand in the request line, never decoded or quoted again."""
        return self.path + b"?" + self.query if self.query else self.path

    def copy(self) -> Request:
        """Return a request with the same bytes, whose changes are its own."""
        return Request(self.method, self.path, self.query, self.headers, Payload(self.body.raw))


class Response:
    """What goes to the client. Whoever obtains one must `aclose` it; the edge does so for what reaches it."""

    __slots__ = ("_closers", "body", "headers", "status", "tap_errors")

    def __init__(self, status: int, headers: Headers, body: Payload | ByteStream) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._closers: list[Callable[[Outcome], None]] = []
        self.tap_errors: list[Exception] = body.tap_errors if isinstance(body, ByteStream) else []

    def tap(self, tap: Tap) -> None:
        """Let `tap` observe the body from here on, whether it is complete already or still arriving."""
        body = self.body
        if isinstance(body, ByteStream):
            body.tap(tap)
            return
        try:
            tap.feed(body.raw)
            tap.done(Outcome.COMPLETE)
        except Exception as error:  # noqa: BLE001 - observers fail open
            self.tap_errors.append(error)

    def on_close(self, fn: Callable[[Outcome], None]) -> None:
        """Call `fn` once when the client has the last byte (COMPLETE) or never will; last added, first called."""
        self._closers.append(fn)

    def stream(self) -> ByteStream:
        """Return the body as a stream, to be tapped and mapped; a complete one becomes a stream of one chunk."""
        if isinstance(self.body, Payload):
            self.body = ByteStream(_once(self.body.raw), origin=self.body)
            self.body.tap_errors = self.tap_errors
        return self.body

    async def read(self) -> bytes:
        """Return the whole body; a stream is buffered, so the caller says why it cannot work on chunks."""
        if isinstance(self.body, ByteStream):
            stream = self.body
            try:
                self.body = Payload(b"".join([chunk async for chunk in stream]))
            finally:
                await stream.aclose()
        return self.body.raw

    async def aclose(self, outcome: Outcome = Outcome.CLIENT_GONE) -> None:
        """Release everything behind this response. Idempotent."""
        try:
            if isinstance(self.body, ByteStream):
                await self.body.aclose()
        finally:
            while self._closers:
                try:
                    self._closers.pop()(outcome)
                except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from releasing
                    self.tap_errors.append(error)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


_process = os.urandom(3).hex()
_counter = itertools.count()


def new_id() -> str:
    """Return an exchange id: 24 characters that sort by time within a process and never repeat across them."""
    return f"{time.time_ns() // 1_000_000:011x}{_process}{next(_counter) & 0xFFFFFFF:07x}"


class Exchange:
    """One request on its way through the pipeline, with the facts that its stations leave for each other."""

    __slots__ = (
        "_facts",
        "_opened",
        "error",
        "id",
        "ledger",
        "received",
        "received_headers",
        "request",
        "route",
        "run",
        "started",
        "time",
    )

    def __init__(self, request: Request, *, route: str | None, run: str | None = None) -> None:
        self.id = new_id()
        self.route = route
        self.run = run
        self.request = request
        self.received: bytes = request.body.raw
        self.received_headers: Headers = request.headers
        self.ledger = Ledger(request)
        self.started = time.perf_counter()
        self.time = time.time()
        self.error: ProxyError | None = None
        self._facts: dict[type, Any] = {}
        self._opened: list[ByteStream | Response] = []

    def owns(self, opened: ByteStream | Response) -> None:
        """Have a stream or a response closed when the exchange ends, even if an interceptor that held it failed."""
        if opened not in self._opened:
            self._opened.append(opened)

    def fork(self, *, ends_with_this: bool = False) -> Exchange:
        """Return an exchange with the same request that owns what is opened for it, and may outlive this one.

        With `ends_with_this` it may not: what is opened for it is this one's.
        """
        other = Exchange.__new__(Exchange)
        other.id, other.route, other.run = self.id, self.route, self.run
        other.request, other.received, other.received_headers = self.request, self.received, self.received_headers
        other.ledger, other.error, other.started, other.time = self.ledger, self.error, self.started, self.time
        other._facts = dict(self._facts)  # noqa: SLF001 - it is one of us
        other._opened = self._opened if ends_with_this else []  # noqa: SLF001
        return other

    def adopt(self, other: Exchange) -> None:
        """Take over the facts that were left on a fork."""
        self._facts |= other._facts

    async def aclose(self, outcome: Outcome = Outcome.CLIENT_GONE) -> None:
        """Close everything the exchange owns; responses learn how it ended. Idempotent."""
        while self._opened:
            opened = self._opened.pop()
            if isinstance(opened, Response):
                await opened.aclose(outcome)
            else:
                await opened.aclose()

    def put(self, value: object) -> None:
        """Leave a fact for others, under its type."""
        self._facts[type(value)] = value

    def get(self, kind: type[T]) -> T | None:
        """Return the fact of this type, None where nobody left one."""
        return self._facts.get(kind)
