"""Unmodified lm-eval with a task of two questions of our own, for servers that take seconds for an answer."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

TASK = "evalside_two"
QUESTIONS = ("What is the capital of France?", "What is 2 plus 2?")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OPENAI_API_KEY": "unused"}


def write_task(folder: Path) -> None:
    """Write the task and its data into a new folder."""
    folder.mkdir(parents=True)
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps({"prompt": question, "target": "x"}) + "\n" for question in QUESTIONS))
    document = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "Question: {{prompt}}\nAnswer:",
        "doc_to_target": "{{target}}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 8, "temperature": 0, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{TASK}.yaml").write_text(yaml.safe_dump(document))


def run(executable: str, arguments: dict[str, Any], task: Path, output: Path, *flags: str) -> list[str]:
    """Run the task to its end; return the answers as lm-eval has them.

    Args:
        arguments: `model` of lm-eval, and what goes into its `--model_args`.
        task: the folder of `write_task`.
        output: a new folder for what lm-eval writes.
        flags: further ones.
    """
    given = dict(arguments)
    model = given.pop("model_type")
    joined = ",".join(f"{name}={value}" for name, value in given.items())
    argv = [executable, "--model", model, "--model_args", joined, "--tasks", TASK, "--include_path", str(task)]
    argv += ["--log_samples", "--output_path", str(output), *flags]
    env = {**os.environ, **_OFFLINE, "HF_HOME": str(task / "hf")}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [found] = output.rglob("samples_*.jsonl")
    rows = sorted((json.loads(line) for line in found.read_text().splitlines()), key=lambda row: row["doc_id"])
    return [row["resps"][0][0] for row in rows]
