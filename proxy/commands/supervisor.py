"""The worker processes of `evalside serve --workers`, kept at their number."""

from __future__ import annotations

import logging
import signal
import time
from inspect import signature
from socket import socket
from typing import Any

from uvicorn import Config, Server
from uvicorn.supervisors.multiprocess import Multiprocess, Process

logger = logging.getLogger("evalside")

_AGAIN = frozenset({signal.SIGINT, signal.SIGTERM})
_PATIENCE = 3.0
"""Seconds that workers still have to end by themselves after a second signal to stop."""

_STARTUP_FAILURE = 3
"""uvicorn's exit code of a worker that would fail again in the same way."""


class Supervisor(Multiprocess):
    """Replaces a worker that has ended, and none that is slow.

    uvicorn's own also kills a worker that leaves a question unanswered for some seconds. On a loaded machine that is
    one that is still starting, and so is the one in its place, for ever; or it is one amid an evaluation's answers.
    """

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets=sockets, **_told(Multiprocess, config))
        self.cannot_start = False
        """Whether it ended because a worker cannot start."""

    def keep_subprocess_alive(self) -> None:
        """Start another in place of every worker that has ended; one that cannot start ends them all."""
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if worker.process.is_alive():
                continue
            worker.join()
            if worker.process.exitcode == _STARTUP_FAILURE:
                self.cannot_start = True
                self.should_exit.set()
                return
            logger.warning("worker %s ended (%s): another takes its place", worker.pid, worker.process.exitcode)
            self.processes[index] = Process(self.config, sockets=self.sockets, **_told(Process, self.config))
            self.processes[index].start()

    def join_all(self) -> None:
        """Wait for the workers, however long they take; who asks twice need not wait for one that hangs."""
        end_by: float | None = None
        while alive := [worker for worker in self.processes if worker.process.is_alive()]:
            if end_by is None and not _AGAIN.isdisjoint(self.signal_queue):
                end_by = time.monotonic() + _PATIENCE
            if end_by is not None and time.monotonic() >= end_by:
                for worker in alive:
                    logger.warning("worker %s did not end: it is killed", worker.pid)
                    worker.process.kill()
                end_by = None
                self.signal_queue.clear()
            alive[0].process.join(0.1)
        super().join_all()


def _told(kind: type, config: Config) -> dict[str, Any]:
    """Return what a worker runs: older versions of uvicorn want to be told."""
    return {"target": Server(config).run} if "target" in signature(kind).parameters else {}
