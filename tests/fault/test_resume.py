"""A run that is killed at any moment and goes on gives what an undisturbed one gives, and asks nothing twice."""

import hashlib
import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.runs.database import Runs
from proxy.testing import ModelServer
from tests.fault.folder import Folder, kill_runner
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

SAMPLES, PARALLELISM = 48, 4
OPTIONS = ["-t", "smoke", "--parallelism", str(PARALLELISM)]
SAMPLED = ["config.params.temperature=0.8", "config.params.extra.body.seed=7"]


def by_request(body: dict[str, Any], choice: int, call: int) -> str:
    """An answer that is a function of the request and its seed; some are right."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    return f"{digest[0] % 10} {digest.hex()[:8]}"


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
        folder = Folder(tmp_path_factory.mktemp(mode) / "run", server.url, *OPTIONS, overrides=overrides)
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
    moment = random.randint(1, SAMPLES // 2)  # later ones are over before a busy machine kills them
    server.clear()
    folder = Folder(tmp_path / "killed", server.url, *OPTIONS, overrides=MODES[mode])
    process = folder.run()
    wait_for(lambda: len(server.generation_requests) >= moment, 60)
    end(process)
    ended_at = datetime.now(UTC)
    run, _ = folder.known()
    assert run.state in {"interrupted", "failed"}

    folder.done(folder.start("resume", run.id[:5]), 0)

    assert folder.results() == undisturbed[mode], f"killed after request {moment}"
    asked = Counter(request.body for request in server.generation_requests)
    assert len(asked) == SAMPLES
    assert sum(asked.values()) - SAMPLES <= PARALLELISM, "only what was on its way may be asked twice"
    run, task = folder.known()
    assert (run.state, task.done, task.total, task.errors) == ("success", SAMPLES, SAMPLES, 0)
    counted = SAMPLES // 2 if end is kill_sidecar else SAMPLES  # it may not have written down yet what it counted
    check_metrics(folder, ended_at, sum(asked.values()), counted)


def check_metrics(folder: Folder, ended_at: datetime, asked: int, counted: int) -> None:
    """They are of both processes, without the time between them."""
    [path] = folder.path.glob("out/**/eval_factory_metrics.json")
    told = json.loads(path.read_text())
    stats, evaluation = told["response_stats"], told["evaluation"]
    assert evaluation["total_runs"] == 2
    start, end = (datetime.fromisoformat(evaluation[name]) for name in ("start_time", "end_time"))
    assert start < ended_at < end
    assert 0 < evaluation["runtime_seconds"] < (end - start).total_seconds()
    assert 0 < evaluation["inference_time_seconds"] <= evaluation["runtime_seconds"]
    assert stats["count"] <= asked
    assert stats["cache_hits"] <= PARALLELISM, "answers that came when nobody was there any more to write them down"
    assert stats["count"] + stats["cache_hits"] >= counted
    assert not list(path.parent.glob("*.journal.jsonl"))
    assert not (path.parent / "processes.jsonl").exists()
    [log] = folder.path.glob("out/**/sidecar.log")
    assert log.read_text().count("stop with Ctrl-C") == 2


def test_a_replay_gives_the_same_without_a_model_server(tmp_path: Path) -> None:
    with ModelServer(latency=0.01) as own:  # its answers differ from call to call
        folder = Folder(tmp_path / "run", own.url, *OPTIONS, overrides=["config.params.temperature=0.8"])
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
