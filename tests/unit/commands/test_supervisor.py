"""The worker processes of `evalside serve --workers`."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import uvicorn
from uvicorn.supervisors.multiprocess import SIGNALS

from proxy.commands.supervisor import Supervisor
from tests.unit.serving import PATIENCE, Serving

ROUTE = "tests.unit.commands.test_supervisor:never_asked"


def never_asked() -> None:
    """The app of workers that get no request."""


@contextmanager
def begun() -> Iterator[Supervisor]:
    """A supervisor whose two workers have just begun to start, and who gives them no time to answer."""
    config = uvicorn.Config(ROUTE, workers=2, lifespan="off", log_config=None, timeout_worker_healthcheck=0)
    with ExitStack() as stack:
        for number in SIGNALS:  # a supervisor takes them all
            stack.callback(signal.signal, number, signal.getsignal(number))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        supervisor = Supervisor(config, [listener])
        supervisor.init_processes()
        try:
            yield supervisor
        finally:
            for worker in supervisor.processes:
                worker.process.kill()
                worker.process.join()


def pids(supervisor: Supervisor) -> list[int | None]:
    return [worker.pid for worker in supervisor.processes]


def test_workers_that_are_still_starting_are_let_alone() -> None:
    with begun() as supervisor:
        before = pids(supervisor)
        supervisor.keep_subprocess_alive()
        assert pids(supervisor) == before
        assert all(worker.process.is_alive() for worker in supervisor.processes)


def test_a_worker_that_ended_is_replaced() -> None:
    with begun() as supervisor:
        first, second = supervisor.processes
        os.kill(first.pid or 0, signal.SIGKILL)
        first.process.join()
        supervisor.keep_subprocess_alive()
        replaced, kept = supervisor.processes
        assert kept is second
        assert replaced.pid != first.pid
        assert replaced.process.is_alive()
        assert not supervisor.cannot_start


def test_none_is_replaced_once_all_are_to_stop() -> None:
    with begun() as supervisor:
        supervisor.handle_term()
        before = pids(supervisor)
        supervisor.processes[0].process.kill()
        supervisor.processes[0].process.join()
        supervisor.keep_subprocess_alive()
        assert pids(supervisor) == before


def test_workers_that_cannot_start_end_the_command(tmp_path) -> None:
    """Each for itself would fail again and again."""
    (tmp_path / "own.py").write_text(
        "from contextlib import asynccontextmanager\n"
        "from proxy.interceptors.base import Config, Plugin\n"
        "from proxy.core.pipeline import Layer\n"
        "@asynccontextmanager\n"
        "async def build(config, services):\n"
        "    raise RuntimeError('no such luck')\n"
        "    yield\n"
        "PLUGIN = Plugin(Config, Layer.OBSERVE, build)\n"
    )
    (tmp_path / "c.yaml").write_text("interceptors: ['own:PLUGIN']\n")
    with Serving(tmp_path, "http://127.0.0.1:9", "--config", "c.yaml", "--workers", "2") as serving:
        errors = serving.process.communicate(timeout=PATIENCE)[1]
    assert serving.process.returncode == 3
    assert "no such luck" in errors
