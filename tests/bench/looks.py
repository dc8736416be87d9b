"""What a soak has to keep flat, looked at again and again, and what the looks say together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

from tests.bench.usage import Usage

MOST_GROWTH_MB = 25
MOST_GROWTH = 0.10
"""What memory may grow by, at its slope, from the end of the warm-up to the end of all, beside the fixed part."""
MOST_DRIFT = 3.0
"""How much slower answers may become, beside those of a bare relay: they share the machine's bad times."""
SPARE_DESCRIPTORS = 20
"""How many more there may be at the end than at the start, when all clients have gone."""
WARM_UP = 1 / 3
"""Of the time; what is seen in it does not count."""
FEWEST = 3
"""Looks that a slope is taken of."""


class Look(NamedTuple):
    """At a sidecar, some seconds after the start; latencies are of new plain answers since the look before."""

    at: float
    use: Usage
    requests: int = 0
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    relay_ms: float | None = None
    """The middle latency of a bare relay meanwhile."""
    load: float = 0.0
    store_mb: float = 0.0


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the value that `share` of the values lie below, None without any."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else None


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the middle slope between any two points: a few bad minutes do not turn it (Theil and Sen)."""
    slopes = [(after - before) / (later - earlier) for (earlier, before), (later, after) in combinations(points, 2)]
    return median(slopes) if slopes else 0.0


def warm(looks: Sequence[Look]) -> list[Look]:
    """Return the looks after the warm-up."""
    last = looks[-1].at if looks else 0.0
    return [look for look in looks if look.at >= last * WARM_UP]


def verdicts(looks: Sequence[Look], idle: Usage | None = None) -> list[str]:
    """Return what is not flat, a line for each. `idle` is the sidecar's use when all clients have gone."""
    counted = warm(looks)
    if len(counted) < FEWEST:
        return [f"{len(counted)} looks after the warm-up say nothing; {FEWEST} are needed"]
    found = [_memory(counted), _descriptors(looks, counted, idle), _latency(counted)]
    return [line for line in found if line]


def grown(looks: Sequence[Look], values: Sequence[float]) -> tuple[float, float]:
    """Return what the values begin with and end with along their slope."""
    steepness = slope([(look.at, value) for look, value in zip(looks, values, strict=True)])
    middle = median(values) - steepness * median(look.at for look in looks)
    return middle + steepness * looks[0].at, middle + steepness * looks[-1].at


def _memory(looks: Sequence[Look]) -> str:
    before, after = grown(looks, [look.use.rss_mb for look in looks])
    allowed = before * (1 + MOST_GROWTH) + MOST_GROWTH_MB
    if after <= allowed:
        return ""
    return f"memory grew from {before:.0f} MB to {after:.0f} MB along its slope; {allowed:.0f} MB are allowed"


def _descriptors(looks: Sequence[Look], counted: Sequence[Look], idle: Usage | None) -> str:
    first = looks[0].use.descriptors
    if idle is not None and idle.descriptors > first + SPARE_DESCRIPTORS:
        return f"of {first} descriptors at the start there are {idle.descriptors} when all clients have gone"
    before, after = grown(counted, [look.use.descriptors for look in counted])
    allowed = before * (1 + MOST_GROWTH) + SPARE_DESCRIPTORS
    if after > allowed:
        return f"descriptors grew from {before:.0f} to {after:.0f} along their slope; {allowed:.0f} are allowed"
    return ""


def _latency(looks: Sequence[Look]) -> str:
    """Compare answers with those of the relay at the same time."""
    seen = [(look, look.p50_ms / look.relay_ms) for look in looks if look.p50_ms is not None and look.relay_ms]
    if len(seen) < FEWEST:
        return f"in {len(seen)} looks alone there were new answers; {FEWEST} are needed"
    before, after = grown([look for look, _ in seen], [ratio for _, ratio in seen])
    if after <= max(before, 1.0) * MOST_DRIFT:
        return ""
    return f"a new answer took {before:.1f} times as long as through the relay at first, and {after:.1f} at the end"
