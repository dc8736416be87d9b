"""A run that is killed at any moment and goes on gives what an undisturbed one gives, and asks nothing twice."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.runs.database import JobRow, RunRow, Runs
from proxy.testing import ModelServer
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

SAMPLES, PARALLELISM = 48, 4
VOLATILE = {"exchange_id", "latency_ms", "attempts", "cache"}
SAMPLED = ["config.params.temperature=0.8", "config.params.extra.body.seed=7"]


def by_request(body: dict[str, Any], choice: int, call: int) -> str:
    """An answer that is a function of the request and its seed; some are right."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    return f"{digest[0] % 10} {digest.hex()[:8]}"


class Folder:
    """A working directory with runs of its own."""

    def __init__(self, path: Path, url: str, overrides: list[str]) -> None:
        self.path = path
        path.mkdir()
        self._options = ["-t", "smoke", "--url", url, "--parallelism", str(PARALLELISM), "--output-dir", "out"]
        self._options += [word for override in overrides for word in ("-o", f"evaluation.overrides.{override}")]

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "proxy.cli", *words]
        return subprocess.Popen(command, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self) -> subprocess.Popen[str]:
        return self.start("run", *self._options)

    def done(self, process: subprocess.Popen[str], code: int) -> str:
        output, _ = process.communicate(timeout=100)
        assert process.returncode == code, output
        return output

    def known(self) -> tuple[RunRow, JobRow]:
        with Runs(self.path / ".evalside") as runs:
            [run] = runs.all()
            [job] = runs.jobs(run)
            return run, job

    def results(self) -> tuple[Any, list[dict[str, Any]]]:
        [results] = self.path.glob("out/**/results.yml")
        rows = [json.loads(line) for line in results.with_name("samples.jsonl").read_text().splitlines()]
        kept = [{name: value for name, value in row.items() if name not in VOLATILE} for row in rows]
        return yaml.safe_load(results.read_text())["results"], kept


def kill_runner(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def kill_sidecar(process: subprocess.Popen[str]) -> None:
    command = ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    [pid] = [int(line.split()[0]) for line in listed.stdout.splitlines() if " serve " in line]
    os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "the sidecar stopped in the middle of the run" in output
    assert "`evalside resume " in output


def stop_politely(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "samples were answered. `evalside resume " in output


MODES: dict[str, list[str]] = {"deterministic": [], "sampled": SAMPLED}


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(answer=by_request, latency=0.05) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What runs that nobody kills give, by mode."""
    found = {}
    for mode, overrides in MODES.items():
        folder = Folder(tmp_path_factory.mktemp(mode) / "run", server.url, overrides)
        folder.done(folder.run(), 0)
        found[mode] = folder.results()
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", [kill_runner, kill_sidecar, stop_politely])
def test_a_run_that_goes_on_equals_an_undisturbed_one(
    tmp_path: Path,
    server: ModelServer,
    undisturbed: dict[str, Any],
    end: Callable[[subprocess.Popen[str]], None],
    mode: str,
) -> None:
    moment = random.randint(1, SAMPLES - 2 * PARALLELISM)
    server.clear()
    folder = Folder(tmp_path / "killed", server.url, MODES[mode])
    process = folder.run()
    wait_for(lambda: len(server.generation_requests) >= moment, 60)
    end(process)
    run, _ = folder.known()
    assert run.state in {"interrupted", "failed"}

    folder.done(folder.start("resume", run.id[:5]), 0)

    assert folder.results() == undisturbed[mode], f"killed after request {moment}"
    asked = Counter(request.body for request in server.generation_requests)
    assert len(asked) == SAMPLES
    assert sum(asked.values()) - SAMPLES <= PARALLELISM, "only what was on its way may be asked twice"
    run, task = folder.known()
    assert (run.state, task.done, task.total, task.errors) == ("success", SAMPLES, SAMPLES, 0)


def test_a_replay_gives_the_same_without_a_model_server(tmp_path: Path) -> None:
    with ModelServer(latency=0.01) as own:  # its answers differ from call to call
        folder = Folder(tmp_path / "run", own.url, ["config.params.temperature=0.8"])
        folder.done(folder.run(), 0)
        run, _ = folder.known()
        first = folder.results()

    folder.done(folder.start("rerun", run.id, "--replay", "--output-dir", "out-again"), 0)

    folder.path.joinpath("out").rename(folder.path / "first")
    folder.path.joinpath("out-again").rename(folder.path / "out")
    assert folder.results() == first
    with Runs(folder.path / ".evalside") as runs:
        replayed = runs.all()[0]
        [task] = runs.jobs(replayed)
    assert (replayed.source, replayed.state, task.hits) == (run.id, "success", SAMPLES)
