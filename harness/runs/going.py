"""A run that goes on: its lock, its row in the list of runs, its log."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from harness.records import Tally
from harness.runs.database import Runs
from harness.runs.lock import RunLock

_WRITE_EVERY_S = 1.0


class Going:
    """Keeps the list of runs up to date while this process runs `run`, from within the `with` block.

    Raises RunError if another process does. `descriptor` is for the processes that belong to the run.
    """

    def __init__(self, runs: Runs, run: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = run
        self._runs = runs
        self._clock = clock
        self._lock = RunLock(runs.lock_path(run))
        self._written: dict[str, float] = {}
        self._withheld: dict[str, Tally] = {}  # progress since then, by task
        self._stack = ExitStack()
        self._log = -1

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            self._log = os.open(self._runs.log_path(self.run), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            stack.callback(os.close, self._log)
            self._runs.change(self.run, state="running")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.end(_state(error), str(error) or type(error).__name__)
        self._stack.close()

    @property
    def descriptor(self) -> int:
        """The lock's; the run is over when nobody holds it."""
        return self._lock.descriptor

    def say(self, text: str) -> None:
        """A line in the run's log."""
        stamp = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        os.write(self._log, "".join(f"{stamp} {line}\n" for line in text.splitlines()).encode())

    def progress(self, task: str, tally: Tally) -> None:
        """How far a task is: at once at its beginning and end, else once a second."""
        edge = tally.done in {tally.resumed, tally.total}
        if not edge and self._clock() - self._written.get(task, 0.0) < _WRITE_EVERY_S:
            self._withheld[task] = tally
            return
        self._write(task, tally)

    def _write(self, task: str, tally: Tally) -> None:
        self._written[task] = self._clock()
        self._withheld.pop(task, None)
        counts = {name: getattr(tally, name) for name in ("total", "done", "hits", "errors", "seconds")}
        self._runs.change_job(self.run, task, state="running", **counts)
        self.say(f"{task}: {tally.done} of {tally.total}, {tally.hits} cache hits, {tally.errors} errors")

    def task_ended(self, task: str, state: str, values: Mapping[str, Any] | None = None) -> None:
        """What became of a task."""
        found = dict(values or {})
        self._runs.change_job(self.run, task, state=state, **found)
        message = found.get("message")
        self.say(f"{task}: {state}" + (f": {message}" if message else ""))

    def end(self, state: str, message: str | None = None) -> None:
        """What became of the run; tasks that were not finished share its fate."""
        for job in self._runs.jobs(self._runs.find(self.run)):
            if job.state in {"pending", "running"}:
                if job.name in self._withheld:
                    self._write(job.name, self._withheld[job.name])
                self._runs.change_job(self.run, job.name, state=state)
        self._runs.change(self.run, state=state)
        self.say(f"run {self.run}: {state}" + (f": {message}" if message else ""))


def _state(error: BaseException) -> str:
    """What a run is that ended so: SIGTERM raises SystemExit, see termination_unwinds."""
    if isinstance(error, Exception):
        return "failed"
    return "killed" if isinstance(error, SystemExit) else "interrupted"
