"""A model server whose every answer is sent by the test itself, piece by piece: nothing here depends on time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

END = [{"index": 0, "delta": {}, "finish_reason": "stop"}]


def answer_of(text: str, **choice: Any) -> dict[str, Any]:
    """A complete plain chat completion."""
    made = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **choice}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [made], "usage": usage}


def event_of(text: str) -> bytes:
    """One chunk of a streamed chat completion."""
    return _event([{"index": 0, "delta": {"content": text}, "finish_reason": None}])


def _event(choices: list[Any]) -> bytes:
    document = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return b"data: " + json.dumps(document).encode() + b"\n\n"


LAST = _event(END) + b"data: [DONE]\n\n"
"""What ends a stream well."""


class Call:
    """One request, waiting for its answer."""

    def __init__(self, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.json = json.loads(body)
        self.gone = asyncio.Event()
        self._reader = reader
        self._writer = writer

    async def watch(self) -> None:
        """Return when the client has closed the connection."""
        try:
            await self._reader.read()
        except ConnectionError:
            pass
        self.gone.set()

    async def answer(self, text: str = "hi", *, status: int = 200, **choice: Any) -> None:
        """Send a whole plain answer."""
        body = json.dumps(answer_of(text, **choice) if status == 200 else {"error": {"message": text}}).encode()
        self._head(status, b"application/json", b"content-length: %d" % len(body))
        self._writer.write(body)
        await self._close()

    async def begin(self, *chunks: bytes, status: int = 200) -> None:
        """Send the headers of a stream, and chunks."""
        self._head(status, b"text/event-stream", b"transfer-encoding: chunked")
        await self.send(*chunks)

    async def send(self, *chunks: bytes) -> None:
        """Send chunks of a stream."""
        for chunk in chunks:
            self._writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await self._writer.drain()

    async def end(self) -> None:
        """End a stream as HTTP has it."""
        self._writer.write(b"0\r\n\r\n")
        await self._close()

    async def finish(self, *chunks: bytes) -> None:
        """Send the rest of a stream, and end it well."""
        await self.send(*chunks, LAST)
        await self.end()

    async def cut(self) -> None:
        """Close the connection in the middle."""
        await self._close()

    def _head(self, status: int, content_type: bytes, framing: bytes) -> None:
        self._writer.write(
            b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-type: %s\r\n%s\r\n\r\n" % (status, content_type, framing)
        )

    async def _close(self) -> None:
        await self._writer.drain()
        self._writer.close()


class Gated:
    """The server: `call()` is the next request that arrives."""

    def __init__(self) -> None:
        self.url = ""
        self.count = 0
        self._arrived: asyncio.Queue[Call] = asyncio.Queue()

    async def call(self) -> Call:
        return await asyncio.wait_for(self._arrived.get(), 10)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if head.startswith(b"get"):  # who are you?
            writer.write(b"HTTP/1.1 404 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        call = Call(await reader.readexactly(length), reader, writer)
        self.count += 1
        self._arrived.put_nowait(call)
        await call.watch()
        writer.close()


@asynccontextmanager
async def gated() -> AsyncIterator[Gated]:
    """Start one on a free port, on the test's own loop."""
    made = Gated()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = "http://{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield made
    finally:
        server.close()
