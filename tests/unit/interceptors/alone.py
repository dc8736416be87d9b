"""One interceptor around a model server that is a function."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from proxy.cache.identities import Always
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.pipeline import compose
from proxy.core.redact import Redactor
from proxy.core.stream import ByteStream
from proxy.interceptors.base import ModelNames, Services
from proxy.plugins import build, plan
from proxy.settings import InterceptorSpec
from proxy.store.memory import MemoryStore
from proxy.wire.identity import Identity
from proxy.wire.sse import split

PATHS = {
    "chat": b"/v1/chat/completions",
    "completions": b"/v1/completions",
    "responses": b"/v1/responses",
    "messages": b"/v1/messages",
}
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def services(store: MemoryStore | None = None) -> Services:
    store = store or MemoryStore()
    return Services(lambda folder: store, store, store, Always(Identity("http://model/v1")), ModelNames(), Redactor())


def chunked(body: bytes, size: int) -> ByteStream:
    async def source() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    return ByteStream(source())


def events(*documents: Any, done: bool = True, named: bool = False) -> bytes:
    lines = [
        (f"event: {item['type']}\n" if named else "") + f"data: {json.dumps(item, ensure_ascii=False)}\n\n"
        for item in documents
    ]
    return "".join(lines).encode() + (b"data: [DONE]\n\n" if done else b"")


def documents(stream: bytes) -> list[Any]:
    """What the events of a stream hold, but for `[DONE]`."""
    return [json.loads(event.data) for event in split(stream).events if event.data != b"[DONE]"]


class Asked:
    """What came of one request."""

    def __init__(self, exchange: Exchange, response: Response, body: bytes) -> None:
        self.exchange = exchange
        self.response = response
        self.body = body

    @property
    def sent(self) -> Any:
        return self.exchange.request.body.json

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def documents(self) -> list[Any]:
        return documents(self.body)

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(change.interceptor, change.field) for change in self.exchange.ledger.changes]


async def ask(
    name: str,
    options: dict[str, Any] | None = None,
    *,
    request: Any = None,
    answer: Any = None,
    route: str = "chat",
    size: int = 1000,
    status: int = 200,
    strict: bool = False,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> Asked:
    """Send a request through one interceptor; raise our own error where that is the answer.

    An `answer` of bytes is a stream of events, anything else is JSON.
    """
    raw = request if isinstance(request, bytes) else json.dumps(REQUEST if request is None else request).encode()
    exchange = Exchange(Request("POST", PATHS[route], b"", [], Payload(raw)), route=route)

    async def terminal(asked: Exchange) -> Response:
        if isinstance(answer, bytes):
            return Response(status, [(b"content-type", b"text/event-stream"), *(headers or [])], chunked(answer, size))
        body = Payload(json.dumps({"id": "1"} if answer is None else answer, ensure_ascii=False).encode())
        return Response(status, [(b"content-type", b"application/json"), *(headers or [])], body)

    spec = InterceptorSpec(name=name, config=options or {})
    async with AsyncExitStack() as stack:
        stages = await build(plan([spec]), services(), stack, strict=strict)
        response = await compose(stages, terminal)(exchange)
        if exchange.error is not None:
            raise exchange.error
        return Asked(exchange, response, await response.read())
