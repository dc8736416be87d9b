"""The floors that the default pipeline must not fall below, as data, and what was measured against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

from tests.bench import peers, servers, workloads
from tests.bench.servers import DEFAULT, NGINX, RELAY

Metric = Literal["per_second", "p50_ms", "first_chunk_ms"]
Found = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]
"""Workload, then metric, then server: a value for each round."""

IDEAL = "ideal"
"""What the upstream's own delay allows."""


class Gate(NamedTuple):
    """A ratio of two servers, at least or at most so large."""

    workload: str
    metric: Metric
    of: str
    to: str
    least: float | None = None
    most: float | None = None


GATES = (
    Gate(workloads.UNIQUE.name, "per_second", DEFAULT, NGINX, least=0.10),
    Gate(workloads.UNIQUE.name, "per_second", DEFAULT, RELAY, least=0.60),
    Gate(workloads.UNIQUE.name, "per_second", DEFAULT, peers.NEMO, least=2),
    Gate(workloads.UNIQUE.name, "per_second", DEFAULT, peers.NEMO_CACHE, least=15),
    Gate(workloads.UNIQUE.name, "per_second", DEFAULT, peers.LITELLM, least=60),
    Gate(workloads.HITS.name, "per_second", DEFAULT, NGINX, least=0.30),
    Gate(workloads.HITS.name, "per_second", DEFAULT, RELAY, least=1.2),
    Gate(workloads.HITS.name, "per_second", DEFAULT, peers.NEMO_CACHE, least=7),
    Gate(workloads.HITS.name, "per_second", DEFAULT, peers.LITELLM_CACHE, least=90),
    Gate(workloads.BURST.name, "per_second", DEFAULT, NGINX, least=0.85),
    Gate(workloads.BURST.name, "per_second", DEFAULT, RELAY, least=0.85),
    Gate(workloads.BURST.name, "per_second", DEFAULT, peers.LITELLM, least=100),
    Gate(workloads.ONE.name, "p50_ms", DEFAULT, NGINX, most=2.2),
    Gate(workloads.ONE.name, "p50_ms", DEFAULT, RELAY, most=1.5),
    Gate(workloads.PACED, "first_chunk_ms", DEFAULT, NGINX, most=2),
    Gate(workloads.PACED, "first_chunk_ms", DEFAULT, RELAY, most=1.3),
    Gate(workloads.DELAY_256.name, "per_second", DEFAULT, IDEAL, least=0.55),
    Gate(workloads.DELAY_256.name, "per_second", DEFAULT, RELAY, least=0.75),
    Gate(workloads.DELAY_1000.name, "per_second", DEFAULT, IDEAL, least=0.45),
    Gate(workloads.DELAY_1000.name, "per_second", DEFAULT, RELAY, least=0.75),
    Gate(workloads.WORKERS, "per_second", servers.TWO_WORKERS, servers.ONE_WORKER, least=1.3),
)
CORES_FOR_WORKERS = 4
"""Two for the workers, two for load and upstream; with fewer the last gate says nothing and is left out."""


class Judged(NamedTuple):
    """A gate, and the ratio in each round."""

    gate: Gate
    ratios: list[float]

    @property
    def ratio(self) -> float:
        """The median."""
        return median(self.ratios)

    @property
    def passed(self) -> bool:
        """Whether the median keeps to the gate."""
        gate = self.gate
        return (gate.least is None or self.ratio >= gate.least) and (gate.most is None or self.ratio <= gate.most)


def judged(found: Found, *, cores: int, gates: Sequence[Gate] = GATES) -> list[Judged]:
    """Return the gates that something was measured for, with what was measured."""
    results = []
    for gate in gates:
        values = found.get(gate.workload, {}).get(gate.metric, {})
        enough = cores >= CORES_FOR_WORKERS or gate.workload != workloads.WORKERS
        if enough and gate.of in values and gate.to in values:
            pairs = zip(values[gate.of], values[gate.to], strict=True)
            results.append(Judged(gate, [ours / theirs for ours, theirs in pairs]))
    return results
