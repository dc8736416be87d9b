"""A program that calls evaluate() and is killed at any moment gets, called again, what it gets undisturbed."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.runs.database import RunRow, Runs
from proxy.testing import ModelServer
from tests.fault.folder import VOLATILE
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
SAMPLES, PARALLELISM = 48, 4
PROGRAM = """
import json, sys
from harness import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget, evaluate

url, params = sys.argv[1], json.loads(sys.argv[2])
result = evaluate(
    EvaluationConfig(type="smoke", output_dir="out", params=ConfigParams(parallelism=4, **params)),
    EvaluationTarget(api_endpoint=ApiEndpoint(url=url)),
    run_id="mine",
)
print(result.model_dump_json(exclude_none=True))
"""
MODES: dict[str, dict[str, Any]] = {
    "deterministic": {},
    "sampled": {"temperature": 0.8, "extra": {"body": {"seed": 7}}},
}


def by_request(body: dict[str, Any], choice: int, call: int) -> str:
    """An answer that is a function of the request and its seed; some are right."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    return f"{digest[0] % 10} {digest.hex()[:8]}"


class Program:
    """A program of the user's in a working directory of its own."""

    def __init__(self, path: Path, url: str, params: dict[str, Any]) -> None:
        path.mkdir()
        self.path = path
        self._argv = [sys.executable, "-c", PROGRAM, url, json.dumps(params)]

    def start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            self._argv, cwd=self.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> tuple[Any, list[dict[str, Any]]]:
        """Runs it to its end: what it got, which is what is in its files, and its samples."""
        process = self.start()
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 0, output
        results = yaml.safe_load((self.path / "out" / "results.yml").read_text())["results"]
        assert json.loads(output.splitlines()[-1]) == results
        rows = [json.loads(line) for line in (self.path / "out" / "samples.jsonl").read_text().splitlines()]
        return results, [{name: value for name, value in row.items() if name not in VOLATILE} for row in rows]

    def known(self) -> RunRow:
        with Runs(self.path / ".evalside") as runs:
            return runs.find("mine")


def reached(server: ModelServer, moment: int) -> bool:
    return len(server.generation_requests) >= moment


def kill_program(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=60)


def kill_sidecar(process: subprocess.Popen[str]) -> None:
    command = ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    [pid] = [int(line.split()[0]) for line in listed.stdout.splitlines() if " serve " in line]
    os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "StartError: the sidecar stopped in the middle of the run" in output


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, output
    assert "KeyboardInterrupt" in output


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(answer=by_request, latency=0.05) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What programs that nobody kills get, by mode."""
    made = {mode: tmp_path_factory.mktemp(mode) / "run" for mode in MODES}
    return {mode: Program(path, server.url, MODES[mode]).finish() for mode, path in made.items()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("end", "left"), [(kill_program, "interrupted"), (kill_sidecar, "failed"), (interrupt, "interrupted")]
)
def test_a_call_that_goes_on_equals_an_undisturbed_one(
    tmp_path: Path,
    server: ModelServer,
    undisturbed: dict[str, Any],
    end: Callable[[subprocess.Popen[str]], None],
    left: str,
    mode: str,
) -> None:
    moment = random.randint(1, SAMPLES // 2)  # later ones are over before a busy machine kills them
    server.clear()
    program = Program(tmp_path / "killed", server.url, MODES[mode])
    process = program.start()
    wait_for(partial(reached, server, moment), 60)
    end(process)
    assert program.known().state == left

    assert program.finish() == undisturbed[mode], f"killed after request {moment}"

    asked = Counter(request.body for request in server.generation_requests)
    assert len(asked) == SAMPLES
    assert sum(asked.values()) - SAMPLES <= PARALLELISM, "only what was on its way may be asked twice"
    assert program.known().state == "success"
    told = json.loads((program.path / "out" / "eval_factory_metrics.json").read_text())
    assert told["evaluation"]["total_runs"] == 2


def test_a_call_that_is_killed_again_and_again_comes_to_its_end(
    tmp_path: Path, server: ModelServer, undisturbed: dict[str, Any]
) -> None:
    server.clear()
    program = Program(tmp_path / "killed", server.url, MODES["sampled"])
    for kills in range(1, 4):
        process = program.start()
        moment = random.randint(10 * kills - 9, 10 * kills)
        wait_for(partial(reached, server, moment), 60)
        kill_program(process)
    assert program.finish() == undisturbed["sampled"]
    asked = Counter(request.body for request in server.generation_requests)
    assert sum(asked.values()) - SAMPLES <= 3 * PARALLELISM
    told = json.loads((program.path / "out" / "eval_factory_metrics.json").read_text())
    assert told["evaluation"]["total_runs"] == 4
