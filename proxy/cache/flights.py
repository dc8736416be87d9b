"""Calls to the model server that several identical requests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import NamedTuple

from proxy.core.errors import ProxyError
from proxy.core.http import Exchange, Payload, Response
from proxy.core.pipeline import Next
from proxy.core.stream import ByteStream, Outcome

CAP = 64 * 1024 * 1024
"""Bytes of an answer that are held for readers to come. Beyond it nobody joins, and the slowest sets the pace."""

_SERVER_ERROR = 500


class Flight:
    """One call, owned by nobody's request: whoever reads its answer may leave without harm to the others.

    A plain answer is read whole by the call itself. A stream is pulled by whichever reader wants its next chunk first,
    so that one slow client holds the model server back and needs no task; later readers catch up from memory. A reader
    may be cancelled while it pulls, so the source has to be one that can be read on after that, as the transport's can.
    """

    def __init__(self, exchange: Exchange, call_next: Next, prepare: Callable[[Exchange, Response], None]) -> None:
        self.exchange = exchange.fork()
        self.ended = False
        self.after: Callable[[], None] = _nothing
        """Called once a call that nobody waited for any more has come to its end."""
        self._readers: set[_Reader] = set()
        self._chunks: list[bytes] = []
        self._dropped = 0  # chunks at the front that every reader has had
        self._held = 0  # bytes in _chunks
        self._error: Exception | None = None
        self._stream: ByteStream | None = None
        self._task = asyncio.get_running_loop().create_task(self._call(call_next, prepare))
        self._waiting: list[asyncio.Future[None]] = []  # for the headers
        self._task.add_done_callback(self._landed)

    async def _call(self, call_next: Next, prepare: Callable[[Exchange, Response], None]) -> Response:
        try:
            response = await call_next(self.exchange)
            self.exchange.owns(response)
            prepare(self.exchange, response)
        except BaseException:
            self.ended = True
            await self.exchange.aclose()
            raise
        if isinstance(response.body, ByteStream):
            self._pulling = asyncio.Lock()  # one reader at a time awaits the stream
            self._moved = asyncio.Event()  # a reader took a chunk or left
            self._stream = response.body
        else:
            self.ended = True
            await self.exchange.aclose(Outcome.COMPLETE)
        return response

    def _landed(self, task: asyncio.Task[Response]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain of one that nobody waited for
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    @property
    def full(self) -> bool:
        """Whether nobody can join any more: it broke, or too much has passed for anyone to catch up."""
        return self._error is not None or self._dropped > 0 or self._held > CAP

    @property
    def idle(self) -> bool:
        """Whether nobody reads."""
        return not self._readers

    def join(self) -> _Reader:
        """Return a place among the readers; who has one must `leave`."""
        reader = _Reader(self)
        self._readers.add(reader)
        return reader

    async def begin(self) -> Response:
        """Return the call's own response at its headers, to look at; raises what the call raised."""
        if not self._task.done():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter  # not the task itself, which must outlive who is cancelled here
        return self._task.result()

    async def chunk(self, index: int) -> bytes | None:
        """Return one chunk, None at the end; raises what broke the stream."""
        while index - self._dropped >= len(self._chunks):
            if self.ended:
                if self._error is not None:
                    raise self._error
                return None
            await self._pull(index)
        return self._chunks[index - self._dropped]

    async def _pull(self, index: int) -> None:
        assert self._stream is not None
        async with self._pulling:
            if self.ended or index - self._dropped < len(self._chunks):
                return  # another reader was faster
            while self._held > CAP and len(self._readers) > 1 and self._drop() == 0:
                self._moved.clear()
                await self._moved.wait()
            try:
                chunk = await anext(self._stream)
            except StopAsyncIteration:
                await self._end(None)
            except Exception as error:  # noqa: BLE001 - raised again to every reader
                await self._end(error)
            else:
                self._chunks.append(chunk)
                self._held += len(chunk)
                if self._held > CAP:
                    self._drop()

    def _drop(self) -> int:
        """Let go of what every reader has had; return how many bytes that were."""
        had = min((reader.position for reader in self._readers), default=self._dropped) - self._dropped
        size = sum(map(len, self._chunks[:had]))
        del self._chunks[:had]
        self._dropped += had
        self._held -= size
        return size

    async def _end(self, error: Exception | None) -> None:
        self._error = error
        self.ended = True
        await self.exchange.aclose(Outcome.COMPLETE if error is None else Outcome.UPSTREAM_FAILED)

    def moved(self) -> None:
        """Let a reader wait no longer that is ahead of the others."""
        self._moved.set()

    def left(self, reader: _Reader) -> None:
        """Take a reader off the list."""
        self._readers.discard(reader)
        if self._stream is not None:
            self._moved.set()

    async def drain(self) -> None:
        """Read to the end, for nobody."""
        reader = self.join()
        try:
            await self.begin()
            while self._stream is not None and await self.chunk(reader.position) is not None:
                reader.position += 1
        except ProxyError:
            pass  # nobody is there to be told
        finally:
            self.left(reader)

    async def cancel(self) -> None:
        """Hang up."""
        self._task.cancel()
        self.ended = True
        self._error = self._error or RuntimeError("the call was given up: nobody read its answer")
        await self.exchange.aclose()


class _Reader:
    """One who reads a flight's answer."""

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.position = 0

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.flight.chunk(self.position)
        if chunk is None:
            raise StopAsyncIteration
        self.position += 1
        self.flight.moved()
        return chunk


class Boarded(NamedTuple):
    """What a request gets of a flight."""

    response: Response
    led: bool
    """Whether the call was made for it."""
    flight: Flight


class Flights:
    """The calls under way, by what they ask for.

    Args:
        finish: whether a call goes on when its last reader has left.
    """

    def __init__(self, *, finish: bool = False) -> None:
        self.finish = finish
        self._flights: dict[Hashable, Flight] = {}
        self._drains: set[asyncio.Task[None]] = set()

    async def board(
        self, key: Hashable, exchange: Exchange, call_next: Next, prepare: Callable[[Exchange, Response], None]
    ) -> Boarded:
        """Return the answer of the flight for `key`, which is begun where there is none.

        A follower of a flight that fails before it has seen a byte tries once more: the first to do so leads.

        Raises:
            ProxyError: the call failed.
        """
        second = False
        while True:
            flight = self._flights.get(key)
            led = flight is None or flight.full
            if led or flight is None:
                flight = self._flights[key] = Flight(exchange, call_next, prepare)
            again = not led and not second
            boarded = await self._ride(flight, led=led, again=again, exchange=exchange, key=key)
            if boarded is not None:
                return boarded
            second = True

    def find(self, key: Hashable) -> Flight | None:
        """Return the flight for `key` that is under way, None where there is none."""
        return self._flights.get(key)

    async def _ride(
        self, flight: Flight, *, led: bool, again: bool, exchange: Exchange, key: Hashable
    ) -> Boarded | None:
        """Return the answer of a flight; None where it failed and the request may try `again`."""
        reader = flight.join()
        try:
            response = await flight.begin()
            if not led and isinstance(response.body, ByteStream):
                await flight.chunk(0)  # until then another flight can still take its place
        except ProxyError:
            await self._leave(key, reader)
            if again:
                return None
            raise
        except BaseException:
            await self._leave(key, reader)
            raise
        if again and response.status >= _SERVER_ERROR:
            self._forget(key, flight)  # it may still send, and nobody else is to join it
            await self._leave(key, reader)
            return None
        if led:
            exchange.adopt(flight.exchange)
        return Boarded(self._served(key, response, reader, led=led), led, flight)

    def _served(self, key: Hashable, response: Response, reader: _Reader, *, led: bool) -> Response:
        body = response.body
        if isinstance(body, Payload):
            served = Response(response.status, list(response.headers), Payload(body.raw))
            if led:
                served.tap_errors = response.tap_errors
            reader.flight.left(reader)
            self._forget(key, reader.flight)
            return served
        stream = ByteStream(reader, lambda: self._leave(key, reader))
        if led:
            stream.tap_errors = body.tap_errors  # the edge reports what failed inside the flight with its leader
        return Response(response.status, list(response.headers), stream)

    async def _leave(self, key: Hashable, reader: _Reader) -> None:
        flight = reader.flight
        flight.left(reader)
        if flight.ended:
            self._forget(key, flight)
        elif flight.idle:
            if self.finish:
                self._drain(key, flight)
            else:
                self._forget(key, flight)
                await flight.cancel()

    def _drain(self, key: Hashable, flight: Flight) -> None:
        async def drain() -> None:
            try:
                await flight.drain()
            finally:
                self._forget(key, flight)
                if not flight.ended and flight.idle:  # the sidecar stops
                    await flight.cancel()
                flight.after()

        task = asyncio.get_running_loop().create_task(drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    def _forget(self, key: Hashable, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def aclose(self) -> None:
        """Hang up the calls that nobody waits for; the others end with their readers."""
        for task in list(self._drains):
            task.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)


def _nothing() -> None:
    """Do nothing."""
