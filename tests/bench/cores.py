"""Which core a process runs on: the server under test has one of its own, load and upstream share another."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

_CORES = sorted(os.sched_getaffinity(0))

SERVER = frozenset(_CORES[:1])
OTHERS = frozenset(_CORES[1:2] or _CORES[:1])
"""With a single core they share it, and ratios suffer."""
ALL = frozenset(_CORES)


@contextmanager
def on(cores: Collection[int]) -> Iterator[None]:
    """Have what is started meanwhile run on these cores, and on no others."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
