"""Whether the model server answers."""

from __future__ import annotations

import asyncio

import httpx

from proxy.upstream.address import Address

PATHS = (b"/health", b"/v1/models", b"/v1/triton_health")
"""Asked in this order; servers differ in which of them they have."""
_PATIENCE = 5.0
_ANSWERS = frozenset({401, 403})
"""A server that asks for a key is up."""


async def answers(transport: httpx.AsyncBaseTransport, address: Address) -> str:
    """Return an empty string where the model server is ready, else what it said instead."""
    said = "nothing"
    for path in PATHS:
        target = address.locate(path)
        request = httpx.Request(
            "GET",
            httpx.URL(address.origin),
            headers=[(b"Host", address.host.encode())],
            extensions={"target": target, "timeout": {"connect": _PATIENCE}},
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                response = await transport.handle_async_request(request)
                await response.aclose()
        except (httpx.TransportError, TimeoutError) as error:
            return str(error) or f"no answer within {_PATIENCE:g} s"
        if response.is_success or response.status_code in _ANSWERS:
            return ""
        said = f"{response.status_code} on {target.decode()}"
    return said
