"""Sends a probe's requests, one after the other, and keeps the answers: equal requests are sent once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx

from proxy.core.http import get_header
from proxy.core.redact import Redactor
from proxy.probing.answers import Answer, Ask
from proxy.upstream.address import Address
from proxy.wire.encoding import decode

LARGEST = 1024 * 1024
"""Bytes of an answer that are read."""
_GIVE_UP = 3
"""Requests in a row without an answer, after which no more are sent."""
_CONNECT = 5.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go."""

    address: Address
    api_key: str | None = None
    timeout: float = 60.0
    """Seconds for one request, to the last byte."""


class Asker:
    """Asks one endpoint. `await asker(ask)` never raises for what the server does: see `Answer.failure`."""

    def __init__(self, transport: httpx.AsyncBaseTransport, endpoint: Endpoint) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._redactor = Redactor([endpoint.api_key])
        self._unanswered = 0
        self.answers: dict[Ask, Answer] = {}
        """In the order in which they came."""

    async def __call__(self, ask: Ask) -> Answer:
        """Return the answer, which may be one that was given before."""
        if ask not in self.answers:
            if self._unanswered >= _GIVE_UP:
                return Answer(failure=f"not asked: {_GIVE_UP} requests in a row had no answer")
            self.answers[ask] = await self._sent(ask)
            self._unanswered = self._unanswered + 1 if self.answers[ask].failure else 0
        return self.answers[ask]

    async def _sent(self, ask: Ask) -> Answer:
        url, limit = self._endpoint.address.url, self._endpoint.timeout
        try:
            async with asyncio.timeout(limit):
                return await self._exchange(ask)
        except TimeoutError:
            return Answer(failure=f"{ask.path.decode()} was not answered within {limit:g} s; --timeout waits longer")
        except httpx.ConnectTimeout:
            return Answer(failure=f"{url} accepts no connection within {_CONNECT:g} s; check host, port and firewall")
        except httpx.ConnectError as error:
            return Answer(failure=f"no connection to {url}: {error}; is the model server running there?")
        except httpx.TransportError as error:
            return Answer(failure=f"{url} broke the connection: {error}; does it speak {self._scheme}?")

    @property
    def _scheme(self) -> str:
        return self._endpoint.address.origin.partition(":")[0]

    async def _exchange(self, ask: Ask) -> Answer:
        response = await self._transport.handle_async_request(self._request(ask))
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        try:
            body = b""
            async for chunk in stream:
                body += chunk
                if len(body) > LARGEST or (ask.first_chunk and response.status_code == 200):
                    break
        finally:
            await stream.aclose()
        headers = list(response.headers.raw)
        decoded = decode(body, get_header(headers, b"content-encoding"))
        shown = self._redactor.raw(body if decoded is None else decoded)
        return Answer(response.status_code, headers, shown[:LARGEST])

    def _request(self, ask: Ask) -> httpx.Request:
        address, key = self._endpoint.address, self._endpoint.api_key
        headers = [(b"Host", address.host.encode()), (b"Accept-Encoding", b"identity")]
        if key is not None and ask.authorized:
            headers.append((b"Authorization", b"Bearer " + key.encode()))
        if ask.body is not None:
            headers += [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(ask.body)).encode())]
        return httpx.Request(
            "GET" if ask.body is None else "POST",
            httpx.URL(address.origin),
            headers=headers,
            stream=httpx.ByteStream(ask.body or b""),
            extensions={"target": address.locate(ask.path), "timeout": {"connect": _CONNECT}},
        )
