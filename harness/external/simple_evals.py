"""NVIDIA's packaging of OpenAI's simple-evals: `simple-evals.<task>`."""

import json
from collections.abc import Mapping
from typing import Any

from harness.api import EndpointType, EvaluationResult, MetricResult, TaskResult
from harness.errors import ConfigurationError
from harness.external.base import DATA_DIR, NO_KEY, Ask, Call, Outcome, OutputError, beside_data, score, whole

_TIMEOUT_S = 86_400


class SimpleEvals:
    """Calls `simple_evals`. What is not configured is as in its framework.yml: temperature 0, top_p 1e-5.

    It tells scores only, no samples; those are in the sidecar's log. `limit_samples` N are the first N.
    """

    name = "simple-evals"
    requirements = ("nvidia-simple-evals==26.3",)
    imported: tuple[str, ...] = ()
    options: Mapping[str, str] = {
        "n_samples": "times each sample is asked",
        "data_dir": DATA_DIR,
    }

    def calls(self, ask: Ask) -> list[Call]:
        """One command."""
        if ask.kind is not EndpointType.CHAT:
            raise ConfigurationError(f"simple-evals asks chat endpoints, not {ask.kind.value!r}")
        params = ask.params
        if isinstance(ask.limit, float):
            raise ConfigurationError(
                f"limit_samples {ask.limit} is a share, and simple-evals takes a number of samples"
            )
        values = {
            "--model": ask.model,
            "--eval_name": ask.task,
            "--url": f"{ask.base_url}/chat/completions",
            "--temperature": 0.0 if params.temperature is None else params.temperature,
            "--top_p": 0.00001 if params.top_p is None else params.top_p,
            "--max_tokens": params.max_new_tokens or 16384,
            "--out_dir": ask.folder,
            "--cache_dir": ask.folder / "cache",  # its own would answer a second run; the sidecar's does that
            "--num_threads": ask.parallelism,
            "--max_retries": 5 if params.max_retries is None else params.max_retries,
            "--timeout": params.request_timeout or _TIMEOUT_S,
            "--num_repeats": whole(ask.options, "n_samples"),
            "--first_n": ask.limit,
        }
        argv = ["simple_evals"]
        for name, value in values.items():
            if value is not None:
                argv += [name, str(value)]
        env = {"API_KEY": NO_KEY, "NEMO_EVALUATOR_TELEMETRY_LEVEL": "0"}
        return [beside_data(Call(tuple(argv), env), ask)]

    def outcome(self, ask: Ask) -> Outcome:
        """`score` of the whole and of each subset that it names."""
        path = ask.folder / f"{ask.task}.json"
        if not path.is_file():
            raise OutputError(f"simple-evals left no {path}; see its log")
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        metrics = {
            name: MetricResult(scores={name: score(float(value), _stderr(document, name))})
            for name, value in document.items()
            if ":" not in name and name != "n_repeats" and isinstance(value, int | float)
        }
        if "score" not in metrics:
            raise OutputError(f"{path} holds no score")
        metrics = {"score": metrics.pop("score"), **metrics}
        return Outcome(EvaluationResult(tasks={ask.task: TaskResult(metrics=metrics)}), [])


def _stderr(document: Mapping[str, Any], name: str) -> float | None:
    value = document.get(f"{name}:stderr")
    return float(value) if isinstance(value, int | float) else None
