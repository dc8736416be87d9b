"""Watches over a model server that a test scripts, or holds back."""

from __future__ import annotations

import asyncio
import contextlib

from proxy.upstream.address import parse_address
from proxy.upstream.identity import IdentityWatch
from proxy.upstream.transport import AiohttpTransport

MODEL = "mock-model"
SIGN = "metrics.process_start_time_seconds"
INSTANCE = b"process_start_time_seconds 1.5e+09\n"


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gated:
    """A vLLM-like server on the test's own loop. With the gate shut it takes requests and does not answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies = {
            "/v1/models": b'{"data":[{"id":"m","owned_by":"vllm","root":"r"}]}',
            "/version": b'{"version":"1"}',
            "/metrics": INSTANCE,
            "/v1/chat/completions": b'{"choices":[{"message":{"content":"four"}}]}',
        }
        self.chat_gate = asyncio.Event()
        self.chat_arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.on_probe = lambda: None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                self.asked.append(path)
                self.arrived.set()
                if path == "/v1/models":
                    self.on_probe()
                await self.gate.wait()
                if b"POST" in head:
                    await reader.readuntil(b"}]}")
                    self.chat_arrived.set()
                    await self.chat_gate.wait()
                body = self.bodies.get(path)
                status = b"404 Not Found" if body is None else b"200 OK"
                body = body or b""
                closing = b"Connection: close\r\n" if b"Connection: close" in head else b""
                writer.write(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, closing, len(body), body))
                if closing:
                    break
        writer.close()

    def probes(self) -> int:
        return self.asked.count("/v1/models")


@contextlib.asynccontextmanager
async def gated():
    """A gated server and its URL."""
    handler = Gated()
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        yield handler, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        handler.gate.set()


class Watch(IdentityWatch):
    """Tells the test when it hears that an idle connection ended."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.heard = asyncio.Event()

    def lapse(self) -> None:
        super().lapse()
        self.heard.set()


@contextlib.asynccontextmanager
async def watching(url, **options):
    """A watch that hears of its transport's failures."""
    async with AiohttpTransport() as transport:
        watch = Watch(transport, parse_address(url), **options)
        transport.on_doubt, transport.on_lapse = watch.doubt, watch.lapse
        try:
            yield watch
        finally:
            await watch.aclose()


async def settled() -> None:
    """Let everything that can run now run."""
    for _ in range(20):
        await asyncio.sleep(0)
