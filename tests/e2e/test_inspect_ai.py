"""Epochs of unmodified inspect-ai at temperature > 0: every one is a sample of its own, as without the sidecar."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.testing import ModelServer
from tests.e2e.draws import QUESTIONS, Draws, Samples, are_distinct, multisets, shared
from tests.killable import Killable
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
INSPECT = shutil.which(ROOT / ".venv-inspect" / "bin" / "inspect") or shutil.which("inspect")
EPOCHS = 4
WANTED = EPOCHS * len(QUESTIONS)
CONCURRENT = 4

TASK = r"""
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate

@task
def sums():
    return Task(dataset=json_dataset("questions.jsonl"), solver=generate(), scorer=pattern(r"^(\d+)"))
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(INSPECT is None, reason="inspect-ai is not installed; `make e2e` installs it"),
]


@dataclass(frozen=True)
class Result:
    """What an evaluation ended with."""

    accuracy: float
    samples: Samples


class Inspect:
    """The `inspect` command with a task of our own: sums, `EPOCHS` times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        rows = ({"input": question, "target": str(right)} for question, right in QUESTIONS.items())
        (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (folder / "sums.py").write_text(TASK)

    def start(self, base_url: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start an evaluation against `base_url`; returns it with the folder that its log goes to."""
        self._count += 1
        logs = self._folder / f"logs-{self._count}"
        command = [str(INSPECT), "eval", "sums.py", "--model", "openai-api/sidecar/m", "--temperature", "0.8"]
        command += ["--epochs", str(EPOCHS), "--max-connections", str(CONCURRENT), "--max-samples", str(CONCURRENT)]
        command += ["--log-dir", str(logs), "--log-format", "json", "--display", "none"]
        provider = {"SIDECAR_BASE_URL": f"{base_url}/v1", "SIDECAR_API_KEY": "unused"}
        homes = {f"XDG_{name}_HOME": str(self._folder / name) for name in ("CACHE", "CONFIG", "DATA")}
        with logs.with_suffix(".out").open("wb") as out:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=os.environ | provider | homes,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return process, logs

    @staticmethod
    def result(process: subprocess.Popen[bytes], logs: Path) -> Result:
        """Wait for an evaluation and return its result."""
        assert process.wait(timeout=300) == 0, logs.with_suffix(".out").read_text()[-3000:]
        [found] = logs.glob("*.json")
        log = json.loads(found.read_text())
        assert log["status"] == "success", log
        samples: Samples = {question: [] for question in QUESTIONS}
        for sample in log["samples"]:
            samples[sample["input"]].append(sample["output"]["choices"][0]["message"]["content"])
        return Result(log["results"]["scores"][0]["metrics"]["accuracy"]["value"], samples)

    def run(self, base_url: str) -> Result:
        """Evaluate to the end."""
        return self.result(*self.start(base_url))


@pytest.fixture
def inspect(tmp_path: Path) -> Inspect:
    folder = tmp_path / "inspect"
    folder.mkdir()
    return Inspect(folder)


def calls(server: ModelServer) -> int:
    return len(server.generation_requests)


def test_epochs_are_samples_and_a_pass_is_replayed(tmp_path, inspect):
    with ModelServer(answer=Draws()) as server:
        direct = inspect.run(server.url)
    with ModelServer(answer=Draws()) as server, Killable(tmp_path, server.url) as sidecar:
        first = inspect.run(f"{sidecar.url}/-/runs/one")
        assert calls(server) == WANTED
        sidecar.new_pass("one")
        again = inspect.run(f"{sidecar.url}/-/runs/one")
        assert calls(server) == WANTED
        other = inspect.run(f"{sidecar.url}/-/runs/two")
        assert calls(server) == 2 * WANTED
    # The model draws the same for both; epochs run at the same time, so which of them got which sample may differ.
    assert multisets(first.samples) == multisets(direct.samples) == multisets(again.samples)
    assert first.accuracy == direct.accuracy == again.accuracy
    assert 0 < first.accuracy < 1
    assert are_distinct(first.samples)
    assert are_distinct(other.samples)
    assert shared(first.samples, other.samples) == 0


@pytest.mark.parametrize("killed", [("harness",), ("sidecar",), ("sidecar", "harness")], ids="-and-".join)
def test_what_was_killed_goes_on_and_no_sample_is_lost_or_had_twice(tmp_path, inspect, killed):
    with ModelServer(answer=Draws(), latency=0.2) as server, Killable(tmp_path, server.url) as sidecar:
        process, logs = inspect.start(f"{sidecar.url}/-/runs/r")
        wait_for(lambda: calls(server) >= WANTED // 2, 120)
        if "sidecar" in killed:
            sidecar.kill()
        if "harness" in killed:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if "sidecar" in killed:
            sidecar.start()
        if "harness" in killed:
            sidecar.new_pass("r")
            process, logs = inspect.start(f"{sidecar.url}/-/runs/r")
        first = inspect.result(process, logs)
        assert {len(texts) for texts in first.samples.values()} == {EPOCHS}
        assert are_distinct(first.samples)
        # Asked again is only what was on its way: all that was under way, and a second's worth of what was to be kept.
        assert calls(server) <= WANTED + CONCURRENT + 5 * CONCURRENT * ("sidecar" in killed)
        if "sidecar" in killed:  # what it had not kept yet is drawn anew
            sidecar.new_pass("r")
            first = inspect.run(f"{sidecar.url}/-/runs/r")
            assert are_distinct(first.samples)
        asked = calls(server)
        sidecar.new_pass("r")
        replayed = inspect.run(f"{sidecar.url}/-/runs/r")
        assert multisets(replayed.samples) == multisets(first.samples)
        assert replayed.accuracy == first.accuracy
        assert calls(server) == asked
