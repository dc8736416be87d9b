"""The real package `datasets` gives the rows that the local files have, offline, out of a folder like the hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.demo_lm_eval import find_lm_eval
from harness.tasks import find_task

ROOT = Path(__file__).resolve().parents[2]
HUB = ROOT.parent / "shared" / "data" / "hub"
LM_EVAL = find_lm_eval()
LOADED = """
import glob, json, sys
sys.path += glob.glob(sys.argv[1])  # behind our own: only what is not there is taken from lm-eval's environment
from harness.tasks import find_task
for name in ("gsm8k", "mmlu_pro"):
    task = find_task(name)
    samples = [[sample.id, sample.query, sample.accepted] for sample in task.samples()]
    print(json.dumps([name, samples, [[facts.origin, facts.rows] for facts in task.data()]]))
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        LM_EVAL is None, reason="`datasets` comes with lm-eval, which is not installed; `make e2e` does"
    ),
    pytest.mark.skipif(
        not HUB.exists(), reason="needs GSM8K and MMLU-Pro beside the repository, in ../shared/data/hub"
    ),
]


def test_the_loader_and_the_files_give_the_same_samples(tmp_path):
    packages = Path(str(LM_EVAL)).parents[1] / "lib" / "python*" / "site-packages"
    environment = {name: value for name, value in os.environ.items() if name != "HARNESS_DATA_DIR"}
    environment |= {
        "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_CACHE": str(tmp_path / "datasets"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(packages)],
        cwd=HUB, env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    loaded = {name: (samples, data) for name, samples, data in map(json.loads, done.stdout.splitlines())}
    assert loaded["gsm8k"][1] == [["hub", 1319], ["hub", 7473]]
    assert loaded["mmlu_pro"][1] == [["hub", 12032], ["hub", 70]]
    for name, (samples, _) in loaded.items():
        local = find_task(name, {"data_dir": str(HUB)}).samples()
        assert samples == [[sample.id, sample.query, list(sample.accepted)] for sample in local]
