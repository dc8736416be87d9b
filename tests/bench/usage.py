"""What a server and its children use, as /proc tells it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_LOOK = 0.2
"""Seconds between two looks at whether a process is idle."""
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of a process and all below it."""

    cpu_s: float
    rss_mb: float
    descriptors: int


def of(pid: int) -> Usage:
    """Return what the process `pid` and its descendants use now."""
    cpu, rss, descriptors = 0.0, 0.0, 0
    for each in [pid, *_below(pid)]:
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            descriptors += sum(1 for _ in Path(f"/proc/{each}/fd").iterdir())
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        cpu += (int(fields[11]) + int(fields[12])) * _TICK
        rss += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Usage(cpu, rss, descriptors)


def settle(pid: int, patience: float = 10.0) -> None:
    """Return when the process has worked off what it still had to do, or after `patience` seconds."""
    due, busy = time.monotonic() + patience, True
    while busy and time.monotonic() < due:
        before = of(pid).cpu_s
        time.sleep(_LOOK)
        busy = of(pid).cpu_s - before > _LOOK / 10


def children(pid: int) -> list[int]:
    """Return the children of a process, of all its threads."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in file.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _below(pid: int) -> list[int]:
    found = children(pid)
    for child in list(found):
        found += _below(child)
    return found
