"""The worker processes of `evalside serve --workers`."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn
from uvicorn.supervisors.multiprocess import SIGNALS

from proxy.commands import supervisor as supervisor_module
from proxy.commands.supervisor import Supervisor
from tests.unit.serving import PATIENCE, Serving
from tests.waiting import wait_for

ROUTE = "tests.unit.commands.test_supervisor:never_asked"


def never_asked() -> None:
    """The app of workers that get no request."""


@contextmanager
def begun(route: str = ROUTE, *, factory: bool = False) -> Iterator[Supervisor]:
    """A supervisor whose two workers have just begun to start, and who gives them no time to answer."""
    config = uvicorn.Config(
        route, factory=factory, workers=2, lifespan="off", log_config=None, timeout_worker_healthcheck=0
    )
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


def hanging() -> None:
    """Make an app that never comes about: signals are noted by then, and nothing looks at them."""
    Path(os.environ["HANGING"], str(os.getpid())).touch()
    time.sleep(PATIENCE)


@pytest.fixture
def hung(tmp_path, monkeypatch) -> Iterator[Supervisor]:
    """A supervisor whose workers hang, and were told to stop."""
    monkeypatch.setenv("HANGING", str(tmp_path))
    monkeypatch.setattr(supervisor_module, "_PATIENCE", 0.2)
    with begun(ROUTE.replace("never_asked", "hanging"), factory=True) as supervisor:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        supervisor.handle_int()
        supervisor.terminate_all()
        yield supervisor


def test_workers_that_hang_are_killed_after_the_second_signal(hung: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    hung.join_all()
    assert [worker.process.exitcode for worker in hung.processes] == [-signal.SIGKILL] * 2


def test_one_signal_leaves_workers_the_time_they_take(hung: Supervisor) -> None:
    waiting = threading.Thread(target=hung.join_all)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    assert all(worker.process.is_alive() for worker in hung.processes)
    hung.signal_queue.append(signal.SIGTERM)
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


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
