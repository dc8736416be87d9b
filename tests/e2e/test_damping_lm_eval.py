"""Unmodified lm-eval before a server that refuses every request: most of its retries are answered from memory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from harness.demo_lm_eval import find_lm_eval
from proxy.testing import ModelServer, Reply
from tests.killable import Killable

LM_EVAL = find_lm_eval()
PYTHON = Path(LM_EVAL or "").parent / "python"
"""Of lm-eval's own environment."""
QUESTIONS = 60
ATTEMPTS = 4
REFUSED = Reply(status=400, json={"error": {"message": "'seed' is not supported", "type": "invalid_request_error"}})

# The command reads all tasks that it comes with first, which takes ten seconds.
RUN = """
import sys
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

manager = TaskManager(include_path=sys.argv[1], include_defaults=False)
simple_evaluate(
    "local-chat-completions", sys.argv[2], tasks=["refused"], task_manager=manager, apply_chat_template=True
)
"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(LM_EVAL is None, reason="lm-eval is not installed; `make e2e` installs it"),
]


def write_task(folder: Path) -> None:
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps({"question": f"What is {n} + {n}?"}) + "\n" for n in range(QUESTIONS)))
    task = {
        "task": "refused",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "x",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / "refused.yaml").write_text(json.dumps(task))


def fail(folder: Path, base_url: str) -> None:
    """Run lm-eval until it gives up."""
    model = f"model=m,base_url={base_url}/v1/chat/completions,num_concurrent=4,max_retries={ATTEMPTS}"
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [str(PYTHON), "-c", RUN, str(folder), model],
        cwd=folder,
        env={**os.environ, **offline, "OPENAI_API_KEY": "unused", "HF_HOME": str(folder / "hf")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "'seed' is not supported" in done.stderr + done.stdout


def test_most_of_its_retries_never_reach_the_model_server(tmp_path):
    write_task(tmp_path)
    with ModelServer() as server:
        server.on("/v1/chat/completions", REFUSED)
        fail(tmp_path, server.url)
        direct = len(server.generation_requests)
    with ModelServer() as server, Killable(tmp_path, server.url) as sidecar:
        server.on("/v1/chat/completions", REFUSED)
        fail(tmp_path, f"{sidecar.url}/-/runs/r")
        asked = len(server.generation_requests)
        damped = httpx.get(f"{sidecar.url}/-/runs/r").json()["statistics"]["damped"]
    print(f"model server asked {direct} times directly, {asked} times through the sidecar, which answered {damped}")
    assert direct > (ATTEMPTS - 1) * QUESTIONS  # all of them are on their last attempt when the first gives up
    assert asked < QUESTIONS + direct // 4
    assert asked + damped > (ATTEMPTS - 1) * QUESTIONS
