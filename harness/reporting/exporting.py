"""The results of ended tasks for other tools: JSON, CSV, Parquet, MLflow and Weights & Biases."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import ConfigurationError, ExportError
from harness.reporting.folder import Ended
from harness.strict import nearest

Scores = dict[str, Any]
_COLUMNS: Mapping[str, type] = {
    "task": str, "model": str, "metric": str, "score": str, "value": float, "stderr": float, "count": int, "low": float,
    "high": float, "folder": str,
}  # fmt: skip


def flat_scores(ended: Ended) -> Iterator[Scores]:
    """One row for each score: task, model, metric, score, value, stderr, count, interval ends (null without report)."""
    for task, told in ended.results["results"]["tasks"].items():
        intervals = (ended.report.get("tasks") or {}).get(task, {})
        for metric, scores in told["metrics"].items():
            for name, score in scores["scores"].items():
                stats = score.get("stats") or {}
                spread = intervals.get(metric if name == metric else f"{metric}.{name}", {})
                low, high = spread.get("interval") or (None, None)
                yield {
                    "task": task,
                    "model": ended.model,
                    "metric": metric,
                    "score": name,
                    "value": score["value"],
                    "stderr": stats.get("stderr"),
                    "count": stats.get("count"),
                    "low": low,
                    "high": high,
                    "folder": str(ended.path),
                }


def as_json(tasks: Sequence[Ended]) -> bytes:
    """The reference's `processed_results.json` form: benchmarks, then models, then one entry for each task folder."""
    benchmarks: dict[str, Any] = {}
    for ended in tasks:
        by_task: dict[str, list[Scores]] = {}
        for row in flat_scores(ended):
            by_task.setdefault(row["task"], []).append(row)
        for task, rows in by_task.items():
            entry = {
                "results_dir": str(ended.path),
                "scores": {f"{row['metric']}_{row['score']}": row["value"] for row in rows},
            }
            models = benchmarks.setdefault(task, {"models": {}})["models"]
            models.setdefault(rows[0]["model"] or "unknown", []).append(entry)
    return json.dumps({"benchmarks": benchmarks}, indent=2, ensure_ascii=False).encode()


def as_csv(tasks: Sequence[Ended]) -> bytes:
    """A table with one line for each score."""
    rows = [row for ended in tasks for row in flat_scores(ended)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(_COLUMNS))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(tasks: Sequence[Ended]) -> bytes:
    """The same table as Parquet. Raises ConfigurationError where pyarrow is not installed."""
    pyarrow, parquet = _needed("pyarrow", "parquet"), _needed("pyarrow.parquet", "parquet")
    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in _COLUMNS.items()])
    rows = [row for ended in tasks for row in flat_scores(ended)]
    table = pyarrow.Table.from_pylist(rows, schema=schema)  # its own would make a column of nulls another type
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


FORMATS: Mapping[str, Callable[[Sequence[Ended]], bytes]] = {"json": as_json, "csv": as_csv, "parquet": as_parquet}
"""What is written to a file, by the name of the format."""
TRACKERS = ("mlflow", "wandb")
_NOT_IN_MLFLOW = re.compile(r"[^\w\-. :/]")
"""What MLflow refuses in the name of a metric: `exact_match,strict-match`, `pass@1`."""


def content(tasks: Sequence[Ended], form: str) -> bytes:
    """The results in a format of FORMATS. Raises ConfigurationError for an unknown one."""
    if form not in FORMATS:
        raise ConfigurationError(f"unknown format {form!r}{nearest(form, [*FORMATS, *TRACKERS])}")
    return FORMATS[form](tasks)


def write(tasks: Sequence[Ended], form: str, path: Path) -> None:
    """Writes the results to `path` in a format of FORMATS. Raises ConfigurationError for an unknown one."""
    found = content(tasks, form)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def to_mlflow(tasks: Sequence[Ended], *, tracking_uri: str | None = None, experiment: str = "evalside") -> list[str]:
    """Logs each task as an MLflow run with its scores, settings and files; returns the ids of the runs.

    Samples stay here: they hold prompts. Raises ConfigurationError where mlflow is not installed, ExportError with its
    own words where it does not take them.
    """
    mlflow = _needed("mlflow", "mlflow")
    ids = []
    with _taken_by("MLflow"):
        if tracking_uri is not None:
            mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment(experiment)
        for ended in tasks:
            with mlflow.start_run(run_name=f"{ended.task} {ended.path.name}") as run:
                mlflow.log_metrics({_NOT_IN_MLFLOW.sub("_", name): value for name, value in _named(ended).items()})
                mlflow.log_params(_settings(ended))
                mlflow.log_artifact(str(ended.path / "results.yml"))
                ids.append(str(run.info.run_id))
    return ids


def to_wandb(tasks: Sequence[Ended], *, project: str = "evalside") -> list[str]:
    """Logs each task as a Weights & Biases run with its scores and settings; returns the ids of the runs.

    Samples stay here: they hold prompts. Raises ConfigurationError where wandb is not installed, ExportError with its
    own words where it does not take them.
    """
    wandb = _needed("wandb", "wandb")
    ids = []
    with _taken_by("Weights & Biases"):
        for ended in tasks:
            with wandb.init(project=project, name=f"{ended.task} {ended.path.name}", config=_settings(ended)) as run:
                run.log(_named(ended))
                ids.append(str(run.id))
    return ids


@contextmanager
def _taken_by(tracker: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ExportError(f"{tracker} does not take the scores: {error}") from error


def _named(ended: Ended) -> dict[str, float]:
    return {f"{row['task']}/{row['metric']}/{row['score']}": float(row["value"]) for row in flat_scores(ended)}


def _settings(ended: Ended) -> dict[str, Any]:
    endpoint = ended.results["target"].get("api_endpoint") or {}
    params = (ended.results["config"].get("params") or {}).items()
    return {
        "task": ended.task,
        "model_id": ended.model,
        "url": endpoint.get("url"),
        **{f"params.{k}": v for k, v in params},
    }


def _needed(module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError:
        raise ConfigurationError(
            f"this needs {module.partition('.')[0]}, which is not installed: pip install 'evalside[{extra}]'"
        ) from None
