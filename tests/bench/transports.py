"""What one request costs in the upstream client: the pool of httpx against our two transports, under one seam."""

import asyncio
import time

import httpx

from proxy.upstream.http1 import Http1Transport
from proxy.upstream.transport import AiohttpTransport

BODY = b'{"model":"plain","messages":[{"role":"user","content":"' + b"word " * 180 + b'"}]}'


async def _cpu_per_request(transport: httpx.AsyncBaseTransport, url: str, concurrency: int, requests: int) -> float:
    left = requests

    async def ask() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            request = httpx.Request("POST", f"{url}/v1/chat/completions", content=BODY)
            response = await transport.handle_async_request(request)
            await response.aread()
            await response.aclose()

    async with transport:
        started = time.process_time()
        await asyncio.gather(*(ask() for _ in range(concurrency)))
        return (time.process_time() - started) / requests * 1e6


def measure(url: str, *, rounds: int, requests: int = 1500) -> dict[str, dict[str, list[float]]]:
    """Return CPU microseconds a request, by concurrency and transport, one value for each round, rounds alternating."""
    found: dict[str, dict[str, list[float]]] = {}
    for concurrency in (1, 16, 64):
        times = found.setdefault(str(concurrency), {"httpx": [], "aiohttp": [], "ours": []})
        for _ in range(rounds):
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            pool = httpx.AsyncHTTPTransport(limits=limits)
            times["httpx"].append(asyncio.run(_cpu_per_request(pool, url, concurrency, requests)))
            times["aiohttp"].append(asyncio.run(_cpu_per_request(AiohttpTransport(), url, concurrency, requests)))
            times["ours"].append(asyncio.run(_cpu_per_request(Http1Transport(), url, concurrency, requests)))
    return found
