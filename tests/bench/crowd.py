"""Clients that come, ask at their own pace, and leave when they like."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.bench.load import body
from tests.bench.workloads import Workload

CONTROL_PAUSE = 0.25
"""Seconds between two requests to the relay."""


class Kind(NamedTuple):
    """What a client does."""

    workload: Workload
    weight: int
    leaves: bool = False
    """Before it has the whole answer."""
    status: int = 200
    again: int | None = None
    """How many different requests there are; None asks none twice."""


KINDS = {
    "new": Kind(Workload("new"), 50),
    "hit": Kind(Workload("hit"), 20, again=50),
    "stream": Kind(Workload("stream", model="burst", stream=True), 10),
    "paced": Kind(Workload("paced", model="paced", stream=True), 5),
    "leaves a stream": Kind(Workload("paced", model="paced", stream=True), 5, leaves=True),
    "leaves before the answer": Kind(Workload("slow", model="slow"), 5, leaves=True),
    "broken answer": Kind(Workload("cut", model="cut"), 3, status=502),
    "no answer": Kind(Workload("gone", model="gone"), 2, status=502),
}


@dataclass
class Crowd:
    """What the clients do, and what they have seen of it."""

    url: str
    relay: str
    """A bare relay's URL: what it takes shows how busy the machine is."""
    rate: float
    """Requests a second, of all clients together."""
    connections: int
    due: float = 0.0
    number: int = 0
    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    """Milliseconds of new plain answers, since somebody last took them."""
    control: list[float] = field(default_factory=list)
    """The same of what the relay was asked."""

    async def run(self) -> None:
        """Have all clients ask until the time is over."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.connections):
                group.create_task(self._client(random.Random(number)))
            group.create_task(self._ask_relay())

    async def _ask_relay(self) -> None:
        reader, writer = await _connect(self.relay)
        number = 0
        while time.monotonic() < self.due:
            await asyncio.sleep(CONTROL_PAUSE)
            began = time.monotonic()
            number += 1
            writer.write(_request(KINDS["new"].workload, "relay", number))
            await _answer(reader)
            self.control.append((time.monotonic() - began) * 1000)
        writer.close()

    async def _client(self, chance: random.Random) -> None:
        """Ask, at the pace of one of many, until the time is over."""
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
        while time.monotonic() < self.due:
            await asyncio.sleep(chance.uniform(0, 2) * self.connections / self.rate)
            [name] = chance.choices(names, weights)
            if connection is not None and connection[0].at_eof():  # it was idle for too long
                connection[1].close()
                connection = None
            try:
                connection = connection or await _connect(self.url)
            except OSError as error:
                self.wrong[f"connecting: {error!r}"] += 1
                continue
            if not await self._ask(name, *connection):
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    async def _ask(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection can be used again."""
        kind = KINDS[name]
        self.number += 1
        number = self.number if kind.again is None else self.number % kind.again
        began = time.monotonic()
        writer.write(_request(kind.workload, f"soak-{name}", number))
        self.done[name] += 1
        if kind.leaves:
            with suppress(TimeoutError):
                await asyncio.wait_for(reader.read(600), 0.02)
            return False
        try:
            async with asyncio.timeout(60):
                status = await _answer(reader)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.wrong[f"{name}: {error!r}"] += 1
            return False
        if status != kind.status:
            self.wrong[f"{name}: {status}"] += 1
        if name == "new":
            self.latencies.append((time.monotonic() - began) * 1000)
        return True


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


def _request(workload: Workload, salt: str, number: int) -> bytes:
    content = body(workload, salt, number).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(content) + content


async def _answer(reader: asyncio.StreamReader) -> int:
    """Return the status of a whole answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"\r\ntransfer-encoding: chunked" in head:
        while (await reader.readuntil(b"\r\n")) != b"0\r\n":
            await reader.readuntil(b"\r\n")
        await reader.readuntil(b"\r\n")
    else:
        await reader.readexactly(int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]))
    return int(head[9:12])
