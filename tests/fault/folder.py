"""A folder with runs of the launcher, each in a process of its own, to be killed and resumed."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.runs.database import JobRow, RunRow, Runs

VOLATILE = {"exchange_id", "latency_ms", "attempts", "cache"}
"""What differs between two runs with the same answers."""


class Folder:
    """A working directory with runs of its own."""

    def __init__(self, path: Path, url: str, *options: str, overrides: Sequence[str] = ()) -> None:
        self.path = path
        path.mkdir()
        self._options = ["--url", url, "--output-dir", "out", *options]
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
