"""EvalScope: `evalscope.<dataset>`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.api import EndpointType, EvaluationResult, MetricResult, TaskResult
from harness.errors import ConfigurationError
from harness.external.base import NO_KEY, Ask, Call, Outcome, OutputError, Row, metric, sample_row, table


class EvalScope:
    """Calls `evalscope eval` against an OpenAI-compatible API. `limit_samples` is its `--limit`: of every subset."""

    name = "evalscope"
    requirements = ("evalscope==1.14.1",)
    imported: tuple[str, ...] = ()
    options: Mapping[str, str] = {
        "dataset_args": "map of the data set's own arguments, such as {local_path: …} for work without a network"
    }

    def calls(self, ask: Ask) -> list[Call]:
        """One command."""
        if ask.kind is not EndpointType.CHAT:
            raise ConfigurationError(f"evalscope asks chat endpoints, not {ask.kind.value!r}")
        params = ask.params
        if params.max_retries is not None:
            raise ConfigurationError(
                "evalscope cannot be told max_retries; leave it out, or pass it in params.extra.args"
            )
        argv = ["evalscope", "eval", "--model", ask.model, "--api-url", ask.base_url, "--api-key", NO_KEY]
        argv += ["--eval-type", "openai_api", "--datasets", ask.task, "--work-dir", str(ask.folder)]
        argv += ["--eval-batch-size", str(ask.parallelism)]
        if ask.limit is not None:
            argv += ["--limit", str(ask.limit)]
        arguments = table(ask.options, "dataset_args")
        if arguments:
            argv += ["--dataset-args", json.dumps({ask.task: arguments})]
        chosen = {
            "max_tokens": params.max_new_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "timeout": params.request_timeout,
        }
        generation = {name: value for name, value in chosen.items() if value is not None}
        if generation:
            argv += ["--generation-config", json.dumps(generation)]
        local = arguments.get("local_path")
        reads = (Path(local).resolve(),) if local is not None and Path(local).exists() else ()
        return [Call(tuple(argv), reads=reads)]

    def outcome(self, ask: Ask) -> Outcome:
        """Its metrics, by their own names; a row for each sample that it reviewed."""
        found = sorted(ask.folder.glob(f"*/reports/*/{ask.task}.json"))
        if not found:
            raise OutputError(f"evalscope left no report of {ask.task!r} in {ask.folder}; see its log")
        document = json.loads(found[-1].read_text(encoding="utf-8"))
        metrics: dict[str, MetricResult] = {}
        for told in document["metrics"]:
            name = told.get("name") or told["identity"]["name"]
            metrics[name] = metric(name, float(told["score"]), count=told.get("num"))
        if not metrics:
            raise OutputError(f"{found[-1]} holds no metric")
        rows = list(_rows(found[-1].parents[2] / "reviews", ask.task))
        return Outcome(EvaluationResult(tasks={ask.task: TaskResult(metrics=metrics)}), rows)


def _rows(reviews: Path, task: str) -> Iterator[Row]:
    for path in sorted(reviews.glob(f"*/{task}_*.jsonl")):
        subset = path.stem.removeprefix(f"{task}_")
        for line in path.read_text(encoding="utf-8").splitlines():
            yield _row(json.loads(line), subset)


def _row(told: Mapping[str, Any], subset: str) -> Row:
    graded = told["sample_score"]["score"]
    scores = {name: float(value) for name, value in graded["value"].items() if isinstance(value, int | float)}
    messages = told.get("messages") or []
    asked = next((each["content"] for each in messages if each.get("role") == "user"), "")
    target = told.get("target")
    return sample_row(
        f"{subset}/{told['index']}",
        graded.get("main_score_name") or next(iter(scores), ""),
        scores,
        sub_query_id=int(told["sample_score"].get("generation_index") or 0),
        query=asked if isinstance(asked, str) else json.dumps(asked, ensure_ascii=False),
        generation=graded.get("prediction"),
        answer=graded.get("extracted_prediction"),
        ground_truth=target if isinstance(target, list) else [str(target)],
        group=subset,
    )
