"""A whole sidecar in front of a scriptable model server, driven message by message."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.app import create_app
from proxy.settings import Settings
from proxy.testing import ASGIExchange, ModelServer, lifespan
from tests.contract.gated import Gated

CHAT = "/v1/chat/completions"


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.headers if key.decode().lower() == name), None)

    @property
    def cache(self) -> str | None:
        return self.header("x-evalside-cache")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0, **fields}


class Sidecar:
    def __init__(self, app: Any, server: Any, database: Path) -> None:
        self.app = app
        self.server = server
        self.database = database

    def exchange(self, path: str, body: Any, headers: dict[str, str], method: str = "POST") -> ASGIExchange:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = [(name.lower().encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()]
        return ASGIExchange(self.app, method, path, fields, [raw])

    async def ask(self, body: Any = None, path: str = CHAT, **headers: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.exchange(path, chat() if body is None else body, fields) as exchange:
            start = await exchange.start()
            return Answer(start.status, start.headers, await exchange.read())

    async def get(self, path: str, **headers: str) -> Answer:
        async with self.exchange(path, b"", headers, "GET") as exchange:
            start = await exchange.start()
            return Answer(start.status, start.headers, await exchange.read())

    async def rows(self) -> list[dict[str, Any]]:
        """Every logged exchange with its bodies, oldest first."""
        items = (await self.get("/-/exchanges?limit=1000")).json["items"]
        return [(await self.get(f"/-/exchanges/{item['id']}")).json for item in reversed(items)]

    @property
    def calls(self) -> int:
        return len(self.server.generation_requests)

    @property
    def posts(self) -> int:
        """Requests that ask for something, on whatever route; what looks after the server's identity are GETs."""
        return sum(request.method == "POST" for request in self.server.requests)

    @property
    def last(self) -> Any:
        return self.server.generation_requests[-1].json


@asynccontextmanager
async def sidecar(
    folder: Path, server: ModelServer | Gated, interceptors: list[Any] | None = None, **settings: Any
) -> AsyncIterator[Sidecar]:
    upstream = {"url": server.url, **settings.pop("upstream", {})}
    database = folder / "evalside.db"
    made = Settings(upstream=upstream, store=f"sqlite:///{database}", interceptors=interceptors, **settings)
    app = create_app(made)
    async with lifespan(app):
        yield Sidecar(app, server, database)
