"""Asking a model server what it is: information routes, and the canary where one is set."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from typing import Any

import httpx
import orjson

from proxy.core.http import Headers, get_header
from proxy.upstream.address import Address
from proxy.wire.encoding import decode
from proxy.wire.identity import METRICS, MODELS, PATHS, ServerFacts, answered_text, credentials, read, start_time

PATIENCE = 20.0
"""Seconds for one information route, to the last byte: llama.cpp answers some of them between two batches of tokens."""
_CONNECT = 5.0
"""Seconds until a connection stands."""
CANARY_PATIENCE = 120.0
"""Seconds for the canary: the server generates up to 32 tokens, perhaps behind a queue of other requests."""
_LARGEST = 1024 * 1024
"""Bytes of an answer that are read; a longer one tells nothing."""
_BUSY = frozenset({429, 502, 503, 504})
_REFUSED = frozenset({401, 403, 500})
"""No answer: it tells nothing, unless the route has told something before."""


class Unknown(Exception):
    """What the server is cannot be known now: it is unreachable, loading, overloaded or slow."""


class Prober:
    """Asks one server. Requests carry the client's credentials (or `api_key`) and nothing else of the client."""

    def __init__(self, transport: httpx.AsyncBaseTransport, address: Address, api_key: str | None) -> None:
        self._transport = transport
        self._address = address
        self._authorization = b"Bearer " + api_key.encode() if api_key else None

    async def facts(self, headers: Headers, last: ServerFacts | None, *, everything: bool) -> ServerFacts:
        """Return what the server tells.

        Args:
            headers: those of the client's request, names in lower case.
            last: what it told before; without `everything` only the routes that told it are asked. If they tell
                something else now, all routes are asked, so that the same server has the same facts whatever was
                there before it.
            everything: ask all routes.

        Raises:
            Unknown: a route was not answered in time, or with 429, 502, 503 or 504; or one that told something before
                answered 401, 403 or 500.
        """
        told = last.paths if last is not None else ()
        if not everything and told:
            found = read(await self._bodies({MODELS, *told}, headers, told))
            if found == last:
                return found
        return read(await self._bodies(PATHS, headers, told))

    async def canary(self, headers: Headers, model: str | None, prompt: str) -> str:
        """Return the SHA-256 of the model's greedy answer to `prompt`.

        Raises:
            Unknown: there was no answer, or none with text; the message says why.
        """
        asked: dict[str, Any] = {"temperature": 0, "max_tokens": 32}
        if model is not None:
            asked["model"] = model
        chat = asked | {"messages": [{"role": "user", "content": prompt}]}
        for path, document in ((b"/v1/chat/completions", chat), (b"/v1/completions", asked | {"prompt": prompt})):
            status, body = await self._exchange(path, headers, orjson.dumps(document))
            if status not in {404, 405}:
                break
        text = answered_text(body) if status == 200 else None
        if text is None:
            raise Unknown(f"{path.decode()} answered {status}" + (" without text" if status == 200 else ""))
        return hashlib.sha256(text.encode()).hexdigest()

    async def _bodies(self, paths: Collection[bytes], headers: Headers, told: Collection[bytes]) -> dict[bytes, bytes]:
        tasks = {}
        unknown = None
        try:
            async with asyncio.TaskGroup() as group:
                for path in paths:
                    tasks[path] = group.create_task(self._body(path, headers, path in told))
        except* Unknown as errors:
            unknown = errors.exceptions[0]
        if unknown is not None:
            raise unknown
        return {path: body for path, task in tasks.items() if (body := task.result()) is not None}

    async def _body(self, path: bytes, headers: Headers, told: bool) -> bytes | None:
        status, body = await self._exchange(path, headers)
        if status in _BUSY or (told and status in _REFUSED):
            raise Unknown(f"{path.decode()} answered {status}")
        return body if status == 200 else None

    async def _exchange(self, path: bytes, headers: Headers, document: bytes | None = None) -> tuple[int, bytes]:
        patience = PATIENCE if document is None else CANARY_PATIENCE
        try:
            async with asyncio.timeout(patience):
                answer = await self._transport.handle_async_request(self._request(path, headers, document))
                try:
                    return answer.status_code, await _content(answer, path)
                finally:
                    await answer.aclose()
        except httpx.TransportError as error:
            raise Unknown(f"{path.decode()}: {error}") from error
        except TimeoutError:
            raise Unknown(f"{path.decode()}: no answer within {patience:g} s") from None

    def _request(self, path: bytes, headers: Headers, document: bytes | None) -> httpx.Request:
        fields = [(b"Host", self._address.host.encode()), (b"Accept-Encoding", b"identity")]
        fields += credentials(headers)
        if self._authorization is not None:
            fields = [item for item in fields if item[0] != b"authorization"]
            fields.append((b"Authorization", self._authorization))
        if document is not None:
            fields += [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(document)).encode())]
        elif path != MODELS:
            # One idle connection is enough to see the server go away; more would only end one after the other.
            fields.append((b"Connection", b"close"))
        return httpx.Request(
            "GET" if document is None else "POST",
            httpx.URL(self._address.origin),
            headers=fields,
            stream=httpx.ByteStream(document or b""),
            extensions={"target": self._address.locate(path), "timeout": {"connect": _CONNECT}},
        )


async def _content(answer: httpx.Response, path: bytes) -> bytes:
    """Return the body, empty where it is too long or cannot be decoded; of metrics no more than is needed."""
    stream = answer.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if path in METRICS and start_time(bytes(body)) is not None:
            break
        if len(body) > _LARGEST:
            return b""
    return decode(bytes(body), get_header(list(answer.headers.raw), b"content-encoding")) or b""
