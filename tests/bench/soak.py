"""The sidecar under mixed load for a while: memory, descriptors and latency have to stay flat.

`make soak` is a minute of it, `make soak ARGS="--seconds 3600 --connections 1000 --rate 1000"` an hour. Clients ask
for new answers and old ones, plain and streamed, leave in the middle of answers and before them, and the model server
fails now and then.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tests.bench import servers, usage
from tests.bench.load import body
from tests.bench.workloads import Workload

SAMPLES = 12
"""Looks at the sidecar, evenly over the time. The first third warms up and does not count."""
MOST_GROWTH_MB = 25
MOST_GROWTH = 0.10
"""What memory may grow by from the end of the first third to the end of all, beside the fixed part."""
MOST_DRIFT = 3.0
"""How much slower the last third may be than the one before it: a machine has other things to do, too."""
SPARE_DESCRIPTORS = 20
"""How many more there may be at the end than at the start, when all clients have gone: kept upstream connections."""


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
class Soak:
    """What goes on, and what was seen of it."""

    url: str
    rate: float
    """Requests a second, of all clients together."""
    connections: int
    due: float
    number: int = 0
    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When, and how many milliseconds, of new plain answers."""

    async def client(self) -> None:
        """Ask, at the pace of one of many, until the time is over."""
        chance = random.Random(self.number)
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
        while time.monotonic() < self.due:
            await asyncio.sleep(chance.uniform(0, 2) * self.connections / self.rate)
            [name] = chance.choices(names, weights)
            connection = connection or await self._connect()
            if not await self._ask(name, *connection):
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        return await asyncio.open_connection(parts.hostname, parts.port)

    async def _ask(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection can be used again."""
        kind = KINDS[name]
        self.number += 1
        number = self.number if kind.again is None else self.number % kind.again
        content = body(kind.workload, f"soak-{name}", number).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
        began = time.monotonic()
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(content) + content)
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
            self.latencies.append((began, (time.monotonic() - began) * 1000))
        return True


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


class Look(NamedTuple):
    """At the sidecar, some seconds after the start."""

    at: float
    use: usage.Usage


async def soak(server: servers.Server, *, seconds: float, connections: int, rate: float) -> tuple[Soak, list[Look]]:
    """Return what was seen."""
    began = time.monotonic()
    running = Soak(server.url, rate, connections, began + seconds)
    looks = [Look(0.0, usage.of(server.pid))]
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(running.client())
        for number in range(1, SAMPLES + 1):
            await asyncio.sleep(max(0.0, began + seconds * number / SAMPLES - time.monotonic()))
            looks.append(Look(time.monotonic() - began, usage.of(server.pid)))
    await asyncio.sleep(1)  # the sidecar notices that they are gone
    looks.append(Look(time.monotonic() - began, usage.of(server.pid)))
    return running, looks


def verdicts(running: Soak, looks: list[Look]) -> list[str]:
    """Return what is not flat, a line for each."""
    found = [f"{count} times {what}" for what, count in running.wrong.items()]
    warm, last = looks[SAMPLES // 3].use, looks[-1].use
    allowed = warm.rss_mb * (1 + MOST_GROWTH) + MOST_GROWTH_MB
    if last.rss_mb > allowed:
        found.append(f"memory grew from {warm.rss_mb:.0f} MB to {last.rss_mb:.0f} MB; {allowed:.0f} MB are allowed")
    if last.descriptors > looks[0].use.descriptors + SPARE_DESCRIPTORS:
        found.append(f"of {looks[0].use.descriptors} descriptors at the start there are {last.descriptors}")
    middle, end = (_median(running, part) for part in (1, 2))
    if end > middle * MOST_DRIFT:
        found.append(f"a new answer took {middle:.1f} ms in the second third, and {end:.1f} ms in the last")
    return found


def _median(running: Soak, third: int) -> float:
    """Return the middle latency in one third of the time."""
    times = running.latencies
    count = len(times) // 3
    return median(ms for _, ms in times[third * count : (third + 1) * count])


def _show(running: Soak, looks: list[Look]) -> None:
    console = Console(width=110)
    table = Table("second", "MB", "descriptors", title="The sidecar")
    for look in looks:
        table.add_row(f"{look.at:.0f}", f"{look.use.rss_mb:.0f}", str(look.use.descriptors))
    console.print(table)
    asked = ", ".join(f"{name} {count}" for name, count in running.done.most_common())
    console.print(f"{sum(running.done.values())} requests: {asked}")
    thirds = ", ".join(f"{_median(running, part):.1f}" for part in range(3))
    console.print(f"middle latency of new answers by thirds, ms: {thirds}; CPU {looks[-1].use.cpu_s:.1f} s")


def main() -> int:
    """Soak, report, and return 1 where anything is not flat."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rate", type=float, default=200, help="requests a second, of all connections together")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evalside-soak-") as folder, ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream())
        cores = os.sched_getaffinity(0)
        server = stack.enter_context(servers.sidecar(servers.DEFAULT, upstream.url, Path(folder) / "sidecar", on=cores))
        running, looks = asyncio.run(soak(server, **vars(options)))
    _show(running, looks)
    failed = verdicts(running, looks)
    for line in failed:
        print(f"make soak: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
