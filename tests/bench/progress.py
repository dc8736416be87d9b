"""What is being measured and how long it still takes: a benchmark that is silent looks like one that hangs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Tells a line for each round: what is measured, what came out of it server by server, how long it still takes."""

    def __init__(self, planned: float, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`planned` is how many seconds all of it should take."""
        self._out = out or sys.stderr
        self._clock = clock
        self._planned = planned
        self._begun: float | None = None  # when the first round did: what comes before it says nothing of the pace
        self._through = 0.0  # planned seconds of what is done
        self.say(f"this should take about {minutes(planned)}; Ctrl-C ends it and reports what was measured until then")

    def say(self, text: str) -> None:
        """Tell a line of its own."""
        print(f"make bench: {text}", file=self._out, flush=True)

    @contextmanager
    def round(self, workload: str, name: str, planned: float) -> Iterator[None]:
        """Tell that a round of a workload begins, and at its end how long the rest takes at this pace.

        `planned` is how many seconds this round should take.
        """
        if self._begun is None:
            self._begun = self._clock()
        print(f"  {workload}, {name}:", end="", file=self._out, flush=True)
        try:
            yield
        finally:
            self._through += planned
            print(f"  [{minutes(self._left())} left]", file=self._out, flush=True)

    def told(self, server: str, value: str) -> None:
        """Tell what came out for one server."""
        print(f" {server} {value};", end="", file=self._out, flush=True)

    def _left(self) -> float:
        gone = self._clock() - self._begun if self._begun is not None else 0.0
        return max(0.0, self._planned - self._through) * gone / self._through


def minutes(seconds: float) -> str:
    """Return a time as `m:ss`."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02}"
