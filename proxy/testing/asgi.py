"""An unbuffered ASGI driver: every message of the application can be seen, and held back, when it is sent."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

EXIT_TIMEOUT = 5.0
"""Seconds the application gets to end after its client has left."""


class ResponseStart(NamedTuple):
    """What the application sent first."""

    status: int
    headers: list[Header]

    def header(self, name: str) -> str | None:
        """The first value of a header whatever its case, None if absent."""
        return next(iter(self.header_values(name)), None)

    def header_values(self, name: str) -> list[str]:
        """All values of a header whatever its case, in order."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]


class ASGIExchange:
    """One request to an ASGI application, driven message by message; use it with `async with`.

    Leaving the block disconnects the client, waits for the application and raises what it raised. Raises
    AssertionError if the application does not end within EXIT_TIMEOUT seconds of the client leaving.
    """

    def __init__(
        self,
        app: ASGIApp,
        method: str = "GET",
        target: str = "/",
        headers: Iterable[Header] = (),
        body_chunks: Iterable[bytes] | AsyncIterable[bytes] = (),
        *,
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        """`target` is path and query as on the wire. Each of `body_chunks` is one `http.request` message (`[body]` for
        a body in one piece). `scope` replaces or adds entries of the ASGI scope: `client`, `server`, `state`, ...
        """
        self._app = app
        self._scope = {**_scope(method, target, headers), **(scope or {})}
        self._body = _messages(body_chunks)
        self._body_done = False
        self._start: asyncio.Future[ResponseStart] | None = None
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._gone = asyncio.Event()
        self._complete = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        """Messages `http.response.body` the application has passed to send(), one that is held back included."""

    async def __aenter__(self) -> Self:
        self._start = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._task is not None
        assert self._start is not None
        self.disconnect()
        done, _ = await asyncio.wait({self._task}, timeout=EXIT_TIMEOUT)
        if not self._start.done():
            self._start.cancel()
        elif not self._start.cancelled():
            self._start.exception()  # seen: the same exception comes out of the task
        if not done:
            self._task.cancel()
            await asyncio.wait({self._task})
            if error is None:
                raise AssertionError(f"the application still ran {EXIT_TIMEOUT} s after its client had left")
        elif error is None:
            self._task.result()

    # -- what a test does ----------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """True when the application has returned or raised."""
        return self._task is not None and self._task.done()

    @property
    def complete(self) -> bool:
        """True when the application has sent the last part of the body."""
        return self._complete.is_set()

    async def start(self) -> ResponseStart:
        """Status and headers as soon as they are sent; raises what the application raised before that."""
        assert self._start is not None, "use the exchange in `async with`"
        return await asyncio.shield(self._start)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of each `http.response.body` message as it is sent, until the last one or the application's end."""
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        self._chunks.put_nowait(None)  # a second iteration ends at once

    async def read(self) -> bytes:
        """The whole body, or what is left of it."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def wait_finished(self) -> None:
        """Wait until the application has returned or raised; does not raise what it raised."""
        assert self._task is not None, "use the exchange in `async with`"
        await asyncio.wait({self._task})

    def disconnect(self) -> None:
        """The client leaves: receive() gives `http.disconnect`, and what is sent from now on is dropped.

        That is what uvicorn does; it raises nothing into the application.
        """
        self._gone.set()
        self._flowing.set()

    def hold(self) -> None:
        """The client stops reading: send() of a body part does not return until release() or disconnect()."""
        if not self._gone.is_set():
            self._flowing.clear()

    def release(self) -> None:
        """The client reads again."""
        self._flowing.set()

    # -- what the application sees -------------------------------------------------------------------------------------

    async def _run(self) -> None:
        assert self._start is not None
        try:
            await self._app(self._scope, self._receive, self._send)
            self._check_answered()
        except BaseException as error:
            if not self._start.done() and isinstance(error, Exception):
                self._start.set_exception(error)
            raise
        finally:
            self._chunks.put_nowait(None)

    def _check_answered(self) -> None:
        assert self._start is not None
        if not self._start.done() and not self._gone.is_set():
            raise RuntimeError("the application ended without sending http.response.start")

    async def _receive(self) -> Message:
        if not self._body_done and not self._gone.is_set():
            message: Message | None = await self._or_gone(anext(self._body))
            if message is not None:
                self._body_done = not message["more_body"]
                return message
        else:
            await self._or_gone(self._complete.wait())
        return {"type": "http.disconnect"}

    async def _or_gone(self, awaitable: Awaitable[Any]) -> Any:
        """The result, None if the client leaves first."""
        wanted, gone = asyncio.ensure_future(awaitable), asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({wanted, gone}, return_when=asyncio.FIRST_COMPLETED)
            return None if self._gone.is_set() else wanted.result()
        finally:
            wanted.cancel()
            gone.cancel()

    async def _send(self, message: Message) -> None:
        assert self._start is not None
        if message["type"] == "http.response.start":
            if self._start.done():
                raise RuntimeError("http.response.start was sent twice")
            self._start.set_result(ResponseStart(message["status"], _header_list(message.get("headers", ()))))
        elif message["type"] == "http.response.body":
            await self._send_body(message)
        else:
            raise RuntimeError(f"unexpected message {message['type']!r}; expected a part of an HTTP response")

    async def _send_body(self, message: Message) -> None:
        assert self._start is not None
        if not self._start.done():
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self._complete.is_set():
            raise RuntimeError("http.response.body was sent after the last one")
        self.sent += 1
        await self._flowing.wait()
        if self._gone.is_set():
            return
        self._chunks.put_nowait(message.get("body", b""))
        if not message.get("more_body", False):
            self._complete.set()
            self._chunks.put_nowait(None)


class LifespanFailed(RuntimeError):
    """The application reported that it could not start or shut down; the message is the application's."""


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Start the application, yield its state (for ASGIExchange), and shut it down at the end of the block.

    Raises LifespanFailed with the application's message if it says so, or what it raised.
    """
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    try:
        await _lifespan_phase("startup", task, to_app, from_app)
        yield state
        await _lifespan_phase("shutdown", task, to_app, from_app)
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _lifespan_phase(
    phase: str, task: asyncio.Future[None], to_app: asyncio.Queue[Message], from_app: asyncio.Queue[Message]
) -> None:
    to_app.put_nowait({"type": f"lifespan.{phase}"})
    answer = asyncio.ensure_future(from_app.get())
    waiting: set[asyncio.Future[Any]] = {task, answer}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if not answer.done():
        answer.cancel()
        await task
        raise LifespanFailed(f"the application ended without answering lifespan.{phase}")
    message = answer.result()
    if message["type"] == f"lifespan.{phase}.failed":
        raise LifespanFailed(message.get("message") or f"the application's {phase} failed")


def _scope(method: str, target: str, headers: Iterable[Header]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 4000),
    }


async def _messages(chunks: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[Message]:
    """Each chunk as soon as it is there, then the end of the body; the last of a list carries the end itself."""
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}
        return
    parts = list(chunks) or [b""]
    for index, part in enumerate(parts):
        yield {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}


def _header_list(headers: Iterable[Header]) -> list[Header]:
    found = [(bytes(name), bytes(value)) for name, value in headers]
    for name, _ in found:
        if name != name.lower():
            raise RuntimeError(f"response header {name!r} is not in lower case, which ASGI requires")
    return found
