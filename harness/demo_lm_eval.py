"""The part of the demo that runs unmodified lm-eval against the sidecar, without a network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from harness.api import EndpointType
from harness.errors import ConfigurationError, EvaluationError
from harness.tasks.smoke import SmokeTask

HOW_TO_GET = (
    "`make e2e` installs it into .venv-lm-eval; or `pip install 'lm-eval[api]'`, or set LM_EVAL_EXECUTABLE to its path"
)
_TASK = "evalside_smoke"
_METRIC = "exact_match"
_TIMEOUT_S = 300
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_PROXY": "127.0.0.1,localhost",
}


def find_lm_eval() -> str | None:
    """The absolute path of lm_eval: LM_EVAL_EXECUTABLE, .venv-lm-eval, beside our Python, or on the PATH; else None.

    Raises ConfigurationError if LM_EVAL_EXECUTABLE names something that cannot be run.
    """
    named = os.environ.get("LM_EVAL_EXECUTABLE")
    if named and shutil.which(named) is None:
        raise ConfigurationError(f"LM_EVAL_EXECUTABLE is {named!r}, which is not an executable file")
    places = (named or "", ".venv-lm-eval/bin/lm_eval", str(Path(sys.executable).parent / "lm_eval"), "lm_eval")
    return next((str(Path(found).absolute()) for place in places if (found := shutil.which(place))), None)


def write_task(folder: Path) -> None:
    """Writes an lm-eval task of the smoke questions (completions, exact match) and its data into a new `folder`."""
    folder.mkdir(parents=True)
    task = SmokeTask()
    data = (folder / "questions.jsonl").resolve()
    rows = (
        {"prompt": task.request(sample, EndpointType.COMPLETIONS)["prompt"], "target": sample.accepted[0]}
        for sample in task.samples()
    )
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    document = {
        "task": _TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{target}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 24, "temperature": 0, "do_sample": False},
        "filter_list": [{"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
        "metric_list": [
            {"metric": _METRIC, "aggregation": "mean", "higher_is_better": True, "ignore_case": True,
             "ignore_punctuation": True},
        ],
        "metadata": {"version": 1},
    }  # fmt: skip
    (folder / f"{_TASK}.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def run_lm_eval(executable: str, sidecar_url: str, model: str, task_folder: Path, output: Path) -> float:
    """One run of lm-eval; its score. Its files and its log go into `output`. Raises EvaluationError if it fails."""
    output.mkdir(parents=True)
    arguments = f"model={model},base_url={sidecar_url}/v1/completions,tokenizer_backend=None,tokenized_requests=False"
    argv = [executable, "--model", "local-completions", "--model_args", arguments, "--tasks", _TASK]
    argv += ["--include_path", str(task_folder), "--output_path", str(output), "--batch_size", "1"]
    # A key for a hosted service has no business at a server of ours.
    env = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"} | _OFFLINE
    env["HF_HOME"] = str((task_folder / "hf").resolve())
    log_path = output / "lm-eval.log"
    with log_path.open("wb") as log:
        try:
            done = subprocess.run(  # noqa: S603 - the executable is the user's own, no shell
                argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, timeout=_TIMEOUT_S,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EvaluationError(f"lm-eval did not finish: {error}; its log is {log_path}") from error
    found = sorted(output.rglob("results_*.json"))
    if done.returncode != 0 or not found:
        tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
        raise EvaluationError(
            f"lm-eval failed with exit code {done.returncode}; its log, {log_path}, ends with:\n{tail}"
        )
    scores: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8"))["results"][_TASK]
    return float(scores[f"{_METRIC},strip"])
