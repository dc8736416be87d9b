"""The sidecar under mixed load for a while: memory, descriptors and latency have to stay flat.

`make soak` is a minute of it, `make soak ARGS="--seconds 3600 --connections 1000 --rate 300"` an hour. Clients ask
for new answers and old ones, plain and streamed, leave in the middle of answers and before them, and the model server
fails now and then. A line is told for each look, at least one a minute, and a verdict at the end, or at Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import cores, servers, usage
from tests.bench.crowd import Crowd
from tests.bench.looks import SPARE_DESCRIPTORS, Look, quantile, verdicts
from tests.bench.usage import Usage

LOOKS = 12
LONGEST_PAUSE = 60.0
"""There are at least so many looks, and none comes later than that many seconds after the one before."""
PATIENCE = 40.0
"""Seconds for the sidecar to let go of its kept connections to the model server, once all clients have gone."""
_NAMES = ("second", "requests", "MB", "files", "p50 ms", "p90 ms", "p99 ms", "relay p50", "load", "store MB")
_COLUMNS = "{:>7} {:>8} {:>6} {:>6} {:>8} {:>8} {:>8} {:>10} {:>6} {:>9}"


@dataclass
class Soak:
    """What was seen.

    Attributes:
        idle: the sidecar's use when all clients had gone, None where it was stopped before.
    """

    crowd: Crowd
    looks: list[Look] = field(default_factory=list)
    idle: Usage | None = None

    def failures(self) -> list[str]:
        """Return wrong answers and what is not flat, a line for each."""
        wrong = [f"{count} times {what}" for what, count in self.crowd.wrong.items()]
        return wrong + verdicts(self.looks, self.idle)


async def soak(
    seen: Soak, server: servers.Server, *, seconds: float, store: Path, tell: Callable[[Look], None] = lambda _: None
) -> None:
    """Have the crowd ask, and look at the sidecar meanwhile; what was seen is in `seen`, however this ends."""
    began = time.monotonic()
    seen.crowd.due = began + seconds
    pause = min(LONGEST_PAUSE, seconds / LOOKS)
    seen.looks.append(_look(seen.crowd, server.pid, 0.0, store))
    asking = asyncio.create_task(seen.crowd.run())
    try:
        for number in range(1, round(seconds / pause) + 1):
            await asyncio.wait({asking}, timeout=began + number * pause - time.monotonic())
            seen.looks.append(_look(seen.crowd, server.pid, time.monotonic() - began, store))
            tell(seen.looks[-1])
        await asking
    finally:
        asking.cancel()
    seen.idle = await _at_rest(server.pid, seen.looks[0].use.descriptors + SPARE_DESCRIPTORS)


async def _at_rest(pid: int, descriptors: int) -> Usage:
    """Return the use once it is down to so many descriptors, or when patience is over."""
    due = time.monotonic() + PATIENCE
    while (use := usage.of(pid)).descriptors > descriptors and time.monotonic() < due:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.5)
    return use


def _look(crowd: Crowd, pid: int, at: float, store: Path) -> Look:
    """Take a look, and what the crowd has seen since the last one."""
    latencies, crowd.latencies = crowd.latencies, []
    relay, crowd.control = crowd.control, []
    return Look(
        at,
        usage.of(pid),
        requests=crowd.number,
        p50_ms=quantile(latencies, 0.5),
        p90_ms=quantile(latencies, 0.9),
        p99_ms=quantile(latencies, 0.99),
        relay_ms=quantile(relay, 0.5),
        load=os.getloadavg()[0],
        store_mb=sum(file.stat().st_size for file in store.glob("evalside.db*")) / 2**20,
    )


def _tell(look: Look) -> None:
    times = (f"{ms:.1f}" if ms is not None else "" for ms in (look.p50_ms, look.p90_ms, look.p99_ms, look.relay_ms))
    row = (f"{look.at:.0f}", look.requests, f"{look.use.rss_mb:.0f}", look.use.descriptors, *times)
    print(_COLUMNS.format(*row, f"{look.load:.1f}", f"{look.store_mb:.0f}"), flush=True)


def _summarize(seen: Soak) -> None:
    asked = ", ".join(f"{name} {count}" for name, count in seen.crowd.done.most_common())
    print(f"{sum(seen.crowd.done.values())} requests: {asked}")
    if seen.idle is not None:
        began = seen.looks[0].use
        print(
            f"without clients, at the start and at the end: {began.rss_mb:.0f} and {seen.idle.rss_mb:.0f} MB,"
            f" {began.descriptors} and {seen.idle.descriptors} descriptors; CPU {seen.idle.cpu_s:.1f} s"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rate", type=float, default=200, help="requests a second, of all connections together")
    parser.add_argument("--json", type=Path, help="write every look to this file")
    return parser.parse_args()


def main() -> int:
    """Soak, report, and return 1 where anything is not flat."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):  # also as a job in the background, which ignores Ctrl-C
        signal.signal(number, signal.default_int_handler)
    print(
        _COLUMNS.format(
            "second", "requests", "MB", "files", "p50 ms", "p90 ms", "p99 ms", "relay p50", "load", "store MB"
        )
    )
    with tempfile.TemporaryDirectory(prefix="evalside-soak-") as folder, ExitStack() as stack:
        store = Path(folder) / "sidecar"
        upstream = stack.enter_context(servers.upstream())
        server = stack.enter_context(servers.sidecar(servers.DEFAULT, upstream.url, store, on=cores.ALL))
        idle = servers.sidecar(servers.RELAY, upstream.url, Path(folder) / "relay", interceptors=[], on=cores.ALL)
        relay = stack.enter_context(idle)
        seen = Soak(Crowd(server.url, relay.url, options.rate, options.connections))
        try:
            asyncio.run(soak(seen, server, seconds=options.seconds, store=store, tell=_tell))
        except KeyboardInterrupt:
            print("make soak: stopped; this is what was seen until then", file=sys.stderr)
    _summarize(seen)
    failed = seen.failures()
    if options.json is not None:
        looks = [{**look._asdict(), "use": look.use._asdict()} for look in seen.looks]
        found = {"looks": looks, "asked": seen.crowd.done, "failed": failed}
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    for line in failed:
        print(f"make soak: {line}", file=sys.stderr)
    print("make soak: not flat" if failed else "make soak: flat")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
