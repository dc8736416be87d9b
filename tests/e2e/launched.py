"""`evalside run` and the commands after it, in a process of their own and with a configuration file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.runs.database import Runs

ROOT = Path(__file__).parents[2]
HUB = ROOT.parent / "shared" / "data" / "hub"
"""Published data sets, beside the repository."""
PROBLEMS = Path(__file__).with_name("data") / "problems.jsonl"
"""Two programming problems of our own in EvalPlus' form."""
_TIMEOUT_S = 900


def python_of(name: str) -> Path | None:
    """The Python of the checkout's environment for a harness, `.venv-NAME`; None where it is not installed."""
    path = ROOT / f".venv-{name}" / "bin" / "python"
    return path if path.exists() else None


@dataclass(frozen=True)
class Outcome:
    """What a run left for its one task: the `results:` block, its rows, and its manifest."""

    results: dict[str, Any]
    rows: list[dict[str, Any]]
    manifest: dict[str, Any]


class Launched:
    """A working directory whose `config.yaml` has one task, and the runs that are made there."""

    def __init__(self, folder: Path, task: str, url: str, *, model: str = "smollm2", **params: Any) -> None:
        self.folder = folder
        self._task = task
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "target": {"api_endpoint": {"url": f"{url}/v1", "model_id": model}},
            "evaluation": {"tasks": [{"name": task, "overrides": {"config.params": params}}]},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(document))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command on its way."""
        return subprocess.Popen(
            [sys.executable, "-m", "proxy.cli", *words],
            cwd=self.folder,
            env=os.environ | {"OPENAI_API_KEY": "not-for-harnesses"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def done(self, *words: str) -> Outcome:
        """A command that has to end well, and what the newest run left."""
        process = self.start(*words)
        try:
            output, _ = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # which ends the harness, too
            output, _ = process.communicate()
        assert process.returncode == 0, f"{output}\n{self.log()}"
        return self.outcome()

    def run(self) -> Outcome:
        """`evalside run` of the configuration."""
        return self.done("run", "--config", "config.yaml")

    def replay(self) -> Outcome:
        """`evalside rerun --replay` of the first run."""
        return self.done("rerun", self.id, "--replay")

    def outcome(self) -> Outcome:
        """What the newest run left."""
        with Runs(self.folder / ".evalside") as runs:
            [job] = runs.jobs(runs.all()[0])
        folder = self.folder / job.folder
        return Outcome(
            yaml.safe_load((folder / "results.yml").read_text())["results"],
            [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()],
            json.loads((folder / "manifest.json").read_text()),
        )

    @property
    def id(self) -> str:
        """The oldest run's."""
        with Runs(self.folder / ".evalside") as runs:
            return runs.all()[-1].id

    def log(self) -> str:
        """The ends of what the harnesses printed."""
        found = sorted(self.folder.rglob("harness*.log"))
        return "\n".join(f"{path}:\n{path.read_text(errors='replace')[-3000:]}" for path in found)
