"""What the tests of the cache's parts are made of: a request, its place, answers, and who is there."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from proxy.cache.asked import Asked
from proxy.cache.place import Place, Rules, place_of
from proxy.core.http import Exchange, Headers, Payload, Request, Response
from proxy.core.redact import Redactor
from proxy.core.stream import ByteStream
from proxy.store.base import EntryKey, StoredResponse
from proxy.wire.identity import Identity, ServerFacts

NAMED = Identity("n")
PROBED = Identity("http://h/v1 vllm 1", "vllm", {"version": "1"})
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
RULES = Rules(key_headers=(b"openai-beta",))


def request(document: Any = None, **changes: Any) -> Request:
    body = document if isinstance(document, bytes) else json.dumps(BODY | (document or {})).encode()
    return Request(
        "POST", b"/v1/chat/completions", changes.get("query", b""), changes.get("headers", []), Payload(body)
    )


def exchange(document: Any = None, run: str | None = None, headers: Headers | None = None) -> Exchange:
    return Exchange(request(document, headers=headers or []), route="chat", run=run)


def place(document: Any = None) -> Place:
    return place_of(request(document), "chat", RULES)


def plain(text: str = "hi", **choice: Any) -> bytes:
    made = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", **choice}
    return json.dumps({"choices": [made], "usage": {"completion_tokens": 1}}).encode()


def response(body: bytes | ByteStream | None = None, status: int = 200, *headers: tuple[bytes, bytes]) -> Response:
    content_type = b"text/event-stream" if isinstance(body, ByteStream) else b"application/json"
    made = body if isinstance(body, ByteStream) else Payload(plain() if body is None else body)
    return Response(status, [(b"content-type", content_type), *headers], made)


def stored(body: bytes = b"{}", **changes: Any) -> StoredResponse:
    fields = {"status": 200, "headers": [], "body": body, "route": "chat", "request": b"{}"}
    return StoredResponse(**{**fields, "upstream_ms": 1.0, "created_at": 1.0, **changes})


def answering(made: Response) -> Callable[[Exchange], Awaitable[Response]]:
    async def call_next(asked: Exchange) -> Response:
        return made

    return call_next


def asked(mode: str = "on", identity: Identity | None = NAMED, **options: Any) -> Asked:
    made = options.get("exchange") or exchange()
    call_next = options.get("call_next") or answering(response())
    names = [identity.name] if identity is not None else options.get("names", [])
    where = place_of(made.request, "chat", RULES)
    return Asked(made, call_next, where, mode, identity, names, Redactor())


class Watchman:
    """Identities whose confirmations the test decides, one `confirmed` after the other."""

    def __init__(self) -> None:
        self.looks: asyncio.Queue[asyncio.Future[bool]] = asyncio.Queue()
        self.doubts = 0
        self.hurries = 0
        self.generates = False

    async def current(self, headers: Headers, model: str | None) -> Identity | None:
        return PROBED

    async def server(self, headers: Headers) -> ServerFacts | None:
        return None

    async def confirmed(self, before: Identity, headers: Headers, model: str | None) -> bool:
        look: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.looks.put_nowait(look)
        return await look

    def knows(self, name: str) -> bool:
        return True

    def doubt(self) -> None:
        self.doubts += 1

    def hurry(self) -> None:
        self.hurries += 1

    async def decide(self, same: bool) -> None:
        (await self.looks.get()).set_result(same)


class Source:
    """A stream that the test feeds; a read of it may be cancelled, as one of a socket."""

    def __init__(self) -> None:
        self.chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    def __aiter__(self) -> "Source":
        return self

    async def __anext__(self) -> bytes:
        item = await self.chunks.get()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    async def close(self) -> None:
        self.closed.set()

    def stream(self) -> ByteStream:
        return ByteStream(self, self.close)


def at(**changes: Any) -> EntryKey:
    return EntryKey(bytes(32), "", 0, "plain")._replace(**changes)
