"""Which samples a limit leaves: as many from every subject as can be."""

import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction

from harness.tasks.base import Sample


def limited(samples: list[Sample], limit: float | None) -> list[Sample]:
    """The samples that `limit` leaves, the first ones of each group, in their order; None is all.

    An int is that many in all, spread evenly over the groups; what a small group lacks, others give. A float is a share
    of all, rounded up, and each group keeps its proportion.
    """
    if limit is None:
        return samples
    sizes = Counter(sample.group for sample in samples)  # keeps the order of appearance
    quotas = _evenly(sizes, limit) if isinstance(limit, int) else _in_proportion(sizes, limit)
    taken: Counter[str] = Counter()
    kept = []
    for sample in samples:
        if taken[sample.group] < quotas[sample.group]:
            taken[sample.group] += 1
            kept.append(sample)
    return kept


def _evenly(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """A level that all groups are filled up to, as far as they go, and one more for the first ones."""
    left = min(total, sum(sizes.values()))
    quotas = dict.fromkeys(sizes, 0)
    while wanting := [group for group in sizes if quotas[group] < sizes[group]][:left]:
        for group in wanting:
            quotas[group] += 1
        left -= len(wanting)
    return quotas


def _in_proportion(sizes: Mapping[str, int], limit: float) -> dict[str, int]:
    """By largest remainders (Hamilton's method), so that the total is exact."""
    share = Fraction(str(limit))  # as written: 0.1 of 30 is 3
    total = math.ceil(share * sum(sizes.values()))
    quotas = {group: math.floor(share * size) for group, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda group: quotas[group] - share * sizes[group])  # stable: first ones win ties
    for group in by_remainder[: total - sum(quotas.values())]:
        quotas[group] += 1
    return quotas
