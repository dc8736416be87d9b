"""inspect-ai and inspect-evals: `inspect-ai.<task>`."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.api import EndpointType, EvaluationResult, MetricResult, TaskResult
from harness.errors import ConfigurationError
from harness.external.base import NO_KEY, Ask, Call, Outcome, OutputError, Row, sample_row, score, table, whole

_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""CORRECT, PARTIAL, INCORRECT, NOANSWER of inspect_ai.scorer (value_to_float)."""


class InspectAi:
    """Calls `inspect eval` with its OpenAI-compatible provider.

    A task is a file of yours (`tasks/sums.py`, `tasks/sums.py@name`) or one of inspect-evals (`inspect_evals/gsm8k`;
    a bare name means that). `limit_samples` is its `--limit`, a whole number.
    """

    name = "inspect-ai"
    requirements = ("inspect-ai==0.3.285", "inspect-evals", "openai")
    imported: tuple[str, ...] = ()
    options: Mapping[str, str] = {
        "epochs": "times each sample is asked",
        "task_args": "map of the task's own arguments",
    }

    def calls(self, ask: Ask) -> list[Call]:
        """One command; its log is JSON."""
        if ask.kind is not EndpointType.CHAT:
            raise ConfigurationError(f"inspect-ai asks chat endpoints, not {ask.kind.value!r}")
        limit = ask.limit
        if isinstance(limit, float):
            raise ConfigurationError(f"limit_samples {limit} is a share, and inspect-ai takes a number of samples")
        task, cwd = self.task(ask.task)
        argv = ["inspect", "eval", task, "--model", f"openai-api/sidecar/{ask.model}"]
        argv += ["--log-dir", str(ask.folder / "logs"), "--log-format", "json", "--display", "plain"]
        argv += ["--max-connections", str(ask.parallelism)]
        values = {
            "--limit": limit,
            "--max-tokens": ask.params.max_new_tokens,
            "--temperature": ask.params.temperature,
            "--top-p": ask.params.top_p,
            "--max-retries": ask.params.max_retries,
            "--timeout": None if ask.params.request_timeout is None else math.ceil(ask.params.request_timeout),
            "--epochs": whole(ask.options, "epochs"),
        }
        for name, value in values.items():
            if value is not None:
                argv += [name, str(value)]
        for name, value in table(ask.options, "task_args").items():
            argv += ["-T", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]  # it reads YAML
        env = {"SIDECAR_BASE_URL": ask.base_url, "SIDECAR_API_KEY": NO_KEY}
        return [Call(tuple(argv), env, cwd)]

    @staticmethod
    def task(name: str) -> tuple[str, Path | None]:
        """The task as `inspect eval` takes it, and the folder of its file: it takes no absolute paths."""
        file, at, function = name.partition("@")
        if file.endswith(".py"):
            path = Path(file).resolve()
            if not path.is_file():
                raise ConfigurationError(
                    f"there is no file {file!r} with tasks for inspect-ai; name it as seen from here"
                )
            return path.name + at + function, path.parent
        return (name if "/" in name else f"inspect_evals/{name}"), None

    def outcome(self, ask: Ask) -> Outcome:
        """Scores by scorer and metric: `match/accuracy`; the metric alone where there is one scorer."""
        found = sorted((ask.folder / "logs").glob("*.json"))
        if not found:
            raise OutputError(f"inspect-ai left no log in {ask.folder / 'logs'}; see its console output")
        log = json.loads(found[-1].read_text(encoding="utf-8"))
        if log.get("status") != "success":
            message = (log.get("error") or {}).get("message", "no reason given")
            raise OutputError(f"inspect-ai ended with status {log.get('status')!r}: {message}")
        scorers = log["results"]["scores"]
        metrics: dict[str, MetricResult] = {}
        for scorer in scorers:
            metrics |= _metrics(scorer, alone=len(scorers) == 1)
        return Outcome(EvaluationResult(tasks={ask.task: TaskResult(metrics=metrics)}), _rows(log, scorers))


def _metrics(scorer: Mapping[str, Any], *, alone: bool) -> dict[str, MetricResult]:
    told = {name: metric["value"] for name, metric in scorer["metrics"].items()}
    stderr = told.pop("stderr", None)
    count = scorer.get("scored_samples")
    found = {}
    for name, value in told.items():
        label = name if alone else f"{scorer['name']}/{name}"
        of_mean = stderr if name in {"accuracy", "mean"} else None
        found[label] = MetricResult(scores={label: score(float(value), of_mean, count)})
    return found


def _rows(log: Mapping[str, Any], scorers: list[Mapping[str, Any]]) -> list[Row]:
    names = [str(scorer["name"]) for scorer in scorers]
    return [_row(sample, names) for sample in log.get("samples") or ()]


def _row(sample: Mapping[str, Any], names: list[str]) -> Row:
    told = sample.get("scores") or {}
    scores = {name: value for name in names if (value := _number((told.get(name) or {}).get("value"))) is not None}
    output = sample.get("output") or {}
    choice: Mapping[str, Any] = next(iter(output.get("choices") or ()), {})
    usage = output.get("usage") or {}
    reason = choice.get("stop_reason")
    target = sample.get("target")
    error = sample.get("error")
    return sample_row(
        str(sample["id"]),
        names[0] if names else "",
        scores,
        sub_query_id=int(sample.get("epoch", 1)) - 1,
        query=_text(sample.get("input")),
        generation=_text((choice.get("message") or {}).get("content")),
        answer=(told.get(names[0]) or {}).get("answer") if names else None,
        ground_truth=target if isinstance(target, list) else [str(target)],
        num_prompt_tokens=usage.get("input_tokens"),
        num_generated_tokens=usage.get("output_tokens"),
        finish_reason="length" if reason == "max_tokens" else reason,
        error=None if error is None else str(error.get("message", error)),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    return _GRADES.get(value) if isinstance(value, str) else None


def _text(value: Any) -> str:
    """The text of a string, of content parts, or of the last message of a conversation."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        if isinstance(value[-1], dict) and "role" in value[-1]:
            return _text(value[-1].get("content"))
        return "".join(str(part.get("text", "")) for part in value if isinstance(part, dict))
    return ""
