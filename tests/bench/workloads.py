"""What is measured, as data."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.upstream import DELAY


@dataclass(frozen=True, slots=True)
class Workload:
    """Chat requests that wrk sends.

    Attributes:
        name: how reports and `--only` call it.
        connections: at a time, each waiting for its answer before it asks again.
        model: chooses the answer, see `tests.bench.upstream`.
        prompt: bytes of it.
        stream: whether a stream is asked for.
        cycle: how many different requests there are; None asks none twice.
        least_seconds: that a measurement takes: less would see too few answers.
        ideal: requests a second that the upstream's own delay allows, None without one.
    """

    name: str
    connections: int = 32
    model: str = "plain"
    prompt: int = 900
    stream: bool = False
    cycle: int | None = None
    least_seconds: int = 0

    @property
    def ideal(self) -> float | None:
        """Requests a second if nothing but the upstream took time; None where it takes none."""
        return self.connections / DELAY if self.model == "slow" else None


UNIQUE = Workload("unique requests")
HITS = Workload("cache hits", cycle=1)
LONG_PROMPTS = Workload("prompts of 20 kB", prompt=20_000)
LONG_ANSWERS = Workload("answers of 500 kB", model="long")
BURST = Workload("streams of 200 chunks", model="burst", stream=True)
DELAY_256 = Workload("50 ms, 256 connections", model="slow", connections=256)
DELAY_1000 = Workload("50 ms, 1000 connections", model="slow", connections=1000)
ONE = Workload("one connection", connections=1)

WORKLOADS = (UNIQUE, HITS, LONG_PROMPTS, LONG_ANSWERS, BURST, DELAY_256, DELAY_1000, ONE)

PACED = "one stream"
"""Measured by `tests.bench.paced`: the time to the first chunk, and what each chunk is held up."""
FULL_STORE = "a store of 1,000,000"
"""Measured by `tests.bench.store`."""
WORKERS = "two workers"
"""Measured on all cores: unique requests to one worker and to two."""
CLIENTS = "upstream clients"
"""Measured by `tests.bench.transports`: CPU of the client alone."""

NAMES = (*(workload.name for workload in WORKLOADS), PACED, FULL_STORE, WORKERS, CLIENTS)
