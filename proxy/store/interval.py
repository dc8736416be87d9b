"""How sure a share is that was seen in a few tries."""

from __future__ import annotations

import math
from typing import NamedTuple

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Interval(NamedTuple):
    """Bounds between which the true share lies, 95 times of 100."""

    low: float
    high: float


def wilson(hits: int, tries: int) -> Interval:
    """Return the 95 % score interval of a share (E. B. Wilson, JASA 22, 1927), right for few tries and for none.

    Args:
        hits: how often it was so, 0 to `tries`.
        tries: how often it was looked at.
    """
    if tries == 0:
        return Interval(0.0, 1.0)
    share = hits / tries
    spread = _Z * math.sqrt(share * (1 - share) / tries + _Z**2 / (4 * tries**2))
    middle, scale = share + _Z**2 / (2 * tries), 1 + _Z**2 / tries
    return Interval(max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale))
