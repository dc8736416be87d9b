"""A request and its answer without httpx's objects around them, which would be a sixth of what a relayed one costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import httpx

from proxy.core.http import Headers
from proxy.upstream.http1 import Http1Transport, Incoming, Outgoing


class Origin(NamedTuple):
    """Where is asked, and how long for a connection."""

    url: httpx.URL
    connect: float | None
    """Seconds; None waits for ever."""


Ask = Callable[[Outgoing], Awaitable[Incoming]]
"""Raises what the transport raises."""


def asker(transport: httpx.AsyncBaseTransport, origin: Origin) -> Ask:
    """Return how to ask `origin`: directly where the transport can, else through the seam of httpx."""
    if isinstance(transport, Http1Transport):
        return partial(transport.ask, (origin.url.host, origin.url.port or 80), connect=origin.connect)
    return partial(_through_httpx, transport, origin)


async def _through_httpx(transport: httpx.AsyncBaseTransport, origin: Origin, asked: Outgoing) -> Incoming:
    request = httpx.Request(
        asked.method,
        origin.url,
        headers=asked.headers,
        stream=httpx.ByteStream(asked.body),
        extensions={"timeout": {"connect": origin.connect}, "target": asked.target},
    )
    answer = await transport.handle_async_request(request)
    assert isinstance(answer.stream, httpx.AsyncByteStream)
    headers: Headers = list(answer.headers.raw)
    return Incoming(answer.status_code, headers, answer.stream)
