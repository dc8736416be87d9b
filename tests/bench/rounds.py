"""Alternating rounds: every server is measured in every round, each time in another order."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import gates, load, paced, peers, usage, workloads
from tests.bench.progress import Progress
from tests.bench.servers import Server
from tests.bench.workloads import Workload

Values = dict[str, dict[str, dict[str, list[float]]]]
"""Workload, then metric, then server: a value for each round."""

WARM_UP = 1
"""Seconds of the round that does not count."""
_AROUND = 0.8
"""Seconds that a measurement takes beside its length: the server comes to rest, wrk starts."""
_PACED_SECONDS = 4.0
"""What 25 streams take, one after the other."""


@dataclass
class Rounds:
    """What is measured, and what came out of it.

    Attributes:
        count: rounds that count.
        seconds: length of one measurement.
        values: everything that was measured so far.
        void: what nothing can be said of, for a reason each.
    """

    folder: Path
    count: int
    seconds: int
    progress: Progress
    values: Values = field(default_factory=dict)
    void: list[str] = field(default_factory=list)

    def compare(self, workload: Workload, servers: list[Server], *, name: str = "") -> None:
        """Measure the servers with a workload that wrk sends; one whose answers say nothing is left out from there."""
        name = name or workload.name
        left = [server for server in servers if peers.takes_part(server.name, workload.name)]
        for number in range(-1, self.count):  # the first warms up and does not count
            told = f"round {number + 1} of {self.count}" if number >= 0 else "warm-up"
            with self.progress.round(name, told, self._planned(workload, left, number)):
                for server in _in_turn(left, number):
                    try:
                        values = self._measure(workload, server, number)
                    except load.Void as error:
                        self.progress.told(server.name, "nothing")
                        if number >= 0:
                            self._leave_out(name, server, error)
                            left.remove(server)
                        continue
                    self.progress.told(server.name, f"{values['per_second']:,.0f}/s")
                    if number >= 0:
                        self._note(name, server.name, values)
            if number >= 0 and workload.ideal is not None:
                self._note(name, gates.IDEAL, {"per_second": workload.ideal})

    def compare_streams(self, servers: list[Server]) -> None:
        """Measure when each chunk of one stream comes."""
        ours = [server for server in servers if peers.takes_part(server.name, workloads.PACED)]
        for number in range(self.count):
            with self.progress.round(
                workloads.PACED, f"round {number + 1} of {self.count}", _PACED_SECONDS * len(ours)
            ):
                for server in _in_turn(ours, number):
                    found = paced.measure(server.url, salt=f"{os.getpid()}-{number}")
                    self.progress.told(server.name, f"{found.first_chunk_ms:.2f} ms")
                    self._note(workloads.PACED, server.name, found._asdict())

    def complete(self) -> Values:
        """Return what was measured, without the values of a round that was broken off."""
        found: Values = {}
        for workload, metrics in self.values.items():
            for metric, servers in metrics.items():
                whole = min(map(len, servers.values()))
                found.setdefault(workload, {})[metric] = {name: values[:whole] for name, values in servers.items()}
        return found

    def _measure(self, workload: Workload, server: Server, number: int) -> dict[str, float]:
        fitted = peers.fitted(server.name, workload)
        usage.settle(server.pid)
        before = usage.of(server.pid)
        salt = f"{workload.name}-{number}" if workload.cycle is None else workload.name
        seconds = length(fitted, self.seconds) if number >= 0 else WARM_UP
        found = load.run(server.url, self.folder, fitted, salt=salt, seconds=seconds)
        cpu = (usage.of(server.pid).cpu_s - before.cpu_s) / found.requests * 1e6
        return {"per_second": found.per_second, "p50_ms": found.p50_ms, "cpu_us": cpu}

    def _planned(self, workload: Workload, servers: list[Server], number: int) -> float:
        return planned(workload, [server.name for server in servers], self.seconds if number >= 0 else None)

    def _leave_out(self, workload: str, server: Server, error: load.Void) -> None:
        """Forget what was measured of it: ratios are of rounds that both were in."""
        self.void.append(f"{workload}, {server.name}: {error}")
        for values in self.values.get(workload, {}).values():
            values.pop(server.name, None)

    def _note(self, workload: str, server: str, values: dict[str, float]) -> None:
        for metric, value in values.items():
            self.values.setdefault(workload, {}).setdefault(metric, {}).setdefault(server, []).append(value)


def length(workload: Workload, seconds: int) -> int:
    """Return how long one measurement has to take: many connections, and slow servers, need longer."""
    return max(seconds, workload.connections // 200, workload.least_seconds)


def planned(workload: Workload, servers: list[str], seconds: int | None) -> float:
    """Return how many seconds one round of a workload should take; without `seconds` it is the one that warms up."""
    return sum(
        (length(peers.fitted(name, workload), seconds) if seconds is not None else WARM_UP) + _AROUND
        for name in servers
        if peers.takes_part(name, workload.name)
    )


def planned_streams(servers: list[str]) -> float:
    """Return how many seconds one round of single streams should take."""
    return _PACED_SECONDS * sum(peers.takes_part(name, workloads.PACED) for name in servers)


def _in_turn(servers: list[Server], number: int) -> list[Server]:
    shift = number % len(servers) if servers else 0
    return servers[shift:] + servers[:shift]
