"""What the catalogue says of lm-eval's tasks is what lm-eval says of them."""

import json
import subprocess
from pathlib import Path

import pytest

from harness.demo_lm_eval import find_lm_eval
from harness.tasks.catalog import catalog

LM_EVAL = find_lm_eval()
SCORED = {"multiple_choice", "loglikelihood", "loglikelihood_rolling"}
TOLD = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

index = TaskManager()._index

def facts(name):
    entry = index[name]
    config = load_yaml(entry.yaml_path, resolve_func=False) if entry.yaml_path else entry.cfg or {}
    if "output_type" in config:
        return [config["dataset_path"], config["output_type"]]
    parts = config.get("task") if isinstance(config.get("task"), list) else sorted(entry.tags)  # a tag's are its tasks
    return next((found for part in parts if isinstance(part, str) and (found := facts(part))), None)

print(json.dumps({name: facts(name) if name in index else "no such task" for name in json.load(sys.stdin)}))
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(LM_EVAL is None, reason="lm-eval is not installed; `make e2e` installs it"),
]


def test_names_data_and_endpoint_types_are_those_of_lm_eval():
    listed = {entry.task: entry for entry in catalog() if entry.harness == "lm-eval"}
    done = subprocess.run(
        [str(Path(str(LM_EVAL)).parent / "python"), "-c", TOLD],
        input=json.dumps(sorted(listed)), capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert all(told.values())
    wrong = {
        name: found
        for name, found in told.items()
        if found[0] != listed[name].dataset or (found[1] in SCORED) != ("echo_logprobs" in listed[name].needs)
    }
    assert wrong == {}
