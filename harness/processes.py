"""The processes that worked on a task: when each began and was last known to work, however it ended."""

import asyncio
import dataclasses
import fcntl
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from harness.errors import RunError
from harness.records import Tally

PROCESSES_FILE = "processes.jsonl"
_LINE = 512
"""Bytes of a line, filled up with spaces: it is written again in place, in one step that no kill can halve."""
_EVERY_S = 1.0
_KIB = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit of ru_maxrss (getrusage(2))."""


@dataclasses.dataclass(slots=True)
class Process:
    """One of them. Times are in seconds since the epoch; `seen` is when it was last known to work.

    `asked` is when it began to ask and `answered` when its last answer came, None before. `number` is the pass of the
    sidecar's run that it asked in. `peak_tree_memory_bytes` is its own peak and that of its largest child.
    """

    run: str
    started: float
    seen: float
    asked: float | None = None
    answered: float | None = None
    number: int = 0
    peak_memory_bytes: int = 0
    peak_tree_memory_bytes: int = 0

    @property
    def seconds(self) -> float:
        """How long it worked."""
        return max(self.seen - self.started, 0.0)

    def asking(self, first: float, last: float) -> float:
        """Seconds that it asked in, between the times of the run's first request and last answer."""
        if self.asked is None or self.answered is None:
            return 0.0
        return max(min(self.answered, last) - max(self.asked, first), 0.0)


class Processes:
    """Keeps `processes.jsonl` (0600) in `folder` up to date for this process while the `with` block is open.

    `all` are those of the same `run`, this one last; another run's file is begun anew. Raises RunError while another
    process has the folder: each would count, and take up, the other's samples.
    """

    def __init__(self, folder: Path, run: str, *, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / PROCESSES_FILE
        self._clock = clock
        self._own = Process(run, clock(), clock())
        self.all = [self._own]
        self._quiet_since = self._own.started
        self._done = 0
        self._descriptor = -1
        self._offset = 0

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise RunError(
                f"another run is writing into {self._path.parent}; wait for it, or choose another folder (--output-dir)"
            ) from None
        earlier = self._read(os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0))
        self.all = [*earlier, self._own]
        self._offset = len(earlier) * _LINE
        os.ftruncate(self._descriptor, self._offset)
        self.beat()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.beat()
        os.close(self._descriptor)

    def begin(self, number: int) -> None:
        """It is about to ask, in this pass of the sidecar's run."""
        self._own.number = number
        self._quiet_since = self._clock()

    def progress(self, tally: Tally) -> None:
        """How far the task is."""
        now = self._clock()
        if tally.done > max(tally.resumed, self._done):
            self._done = tally.done
            self._own.answered = now
            if self._own.asked is None:
                self._own.asked = self._quiet_since
        self._quiet_since = now
        self.beat()

    def beat(self) -> None:
        """It is still there."""
        own = self._own
        own.seen = self._clock()
        own.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KIB
        own.peak_tree_memory_bytes = own.peak_memory_bytes + children
        os.pwrite(self._descriptor, orjson.dumps(dataclasses.asdict(own)).ljust(_LINE - 1) + b"\n", self._offset)

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beats while the block is open, also where no answer comes for long."""

        async def beats() -> None:
            while True:
                await asyncio.sleep(_EVERY_S)
                self.beat()

        task = asyncio.create_task(beats())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def remove(self) -> None:
        """Deletes the file: the task is complete, and who goes through it again begins anew."""
        self._path.unlink(missing_ok=True)

    def _read(self, content: bytes) -> list[Process]:
        lines = [content[start : start + _LINE] for start in range(0, len(content) - _LINE + 1, _LINE)]
        found = [Process(**orjson.loads(line)) for line in lines]
        return found if all(each.run == self._own.run for each in found) else []
