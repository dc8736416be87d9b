"""Turns sample records into results, and writes both to files, atomically."""

import dataclasses
import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from harness.api import (
    EvaluationConfig,
    EvaluationResult,
    EvaluationTarget,
    GroupResult,
    MetricResult,
    Score,
    ScoreStats,
    TaskResult,
)
from harness.records import SampleRecord
from harness.redact import Redactor
from harness.scoring.statistics import pass_at_k
from harness.tasks.base import Task

RESULTS_FILE = "results.yml"
SAMPLES_FILE = "samples.jsonl"


def task_result(records: Sequence[SampleRecord], score_name: str, pass_at: Sequence[int] = ()) -> TaskResult:
    """Every metric over the samples that were answered, `score_name` first.

    `errors` counts requests that failed, `unparsed` generations that held no answer, by metric. A sample that was asked
    several times counts once in a metric, by the mean of its scores. `pass_at` adds pass@k over its answers, of the
    samples that have as many: a score of 1 is right.
    """
    answered = [record for record in records if record.score is not None]
    names = dict.fromkeys([score_name, *(name for record in answered for name in record.scores)])
    scores = {name: _by_sample(answered, name, score_name) for name in names}
    values = {name: [sum(each) / len(each) for each in scores[name]] for name in names}
    for k in pass_at:
        values[f"pass@{k}"] = [
            pass_at_k(len(each), each.count(1.0), k) for each in scores[score_name] if len(each) >= k
        ]
    metrics = {name: _metric(name, score_stats(each)) for name, each in values.items()}
    metrics["errors"] = MetricResult(scores={"count": Score(value=len(records) - len(answered))})
    unparsed = {name: sum(name in record.unparsed for record in answered) for name in names}
    metrics["unparsed"] = MetricResult(scores={name: Score(value=count) for name, count in unparsed.items()})
    return TaskResult(metrics=metrics)


def evaluation_result(task: Task, records: Sequence[SampleRecord]) -> EvaluationResult:
    """A task's result; with one of each subject as well, if there are several. The task's own is the micro average."""
    whole = task_result(records, task.score_name, task.pass_at)
    by_group: dict[str, list[SampleRecord]] = {}
    for record in records:
        by_group.setdefault(record.group, []).append(record)
    if len(by_group) < 2:
        return EvaluationResult(tasks={task.name: whole})
    parts = {
        name: GroupResult(metrics=task_result(by_group[name], task.score_name, task.pass_at).metrics)
        for name in sorted(by_group)
    }
    return EvaluationResult(
        tasks={task.name: whole}, groups={task.name: GroupResult(metrics=whole.metrics, groups=parts)}
    )


def _metric(name: str, stats: ScoreStats) -> MetricResult:
    return MetricResult(scores={name: Score(value=stats.mean or 0.0, stats=stats)})


def _by_sample(records: Sequence[SampleRecord], name: str, score_name: str) -> list[list[float]]:
    scores: dict[str, list[float]] = {}
    for record in records:
        score = record.score if name == score_name else record.scores.get(name)
        if score is not None:
            scores.setdefault(record.id, []).append(score)
    return list(scores.values())


def main_score(result: TaskResult) -> tuple[str, Score]:
    """The name and the score of the metric that a task is known by."""
    name = next(iter(result.metrics))
    return name, result.metrics[name].scores[name]


def score_stats(scores: Sequence[float]) -> ScoreStats:
    """Statistics of a list of scores, which may be empty."""
    n = len(scores)
    if n == 0:
        return ScoreStats(count=0)
    total = sum(scores)
    mean = total / n
    deviations = sum((score - mean) ** 2 for score in scores)
    return ScoreStats(
        count=n,
        sum=total,
        sum_squared=sum(score * score for score in scores),
        min=min(scores),
        max=max(scores),
        mean=mean,
        variance=deviations / n,
        stddev=(deviations / n) ** 0.5,
        stderr=(deviations / (n - 1) / n) ** 0.5 if n > 1 else None,
    )


@dataclasses.dataclass(frozen=True)
class Report:
    """What `results.yml` says."""

    config: EvaluationConfig
    target: EvaluationTarget
    result: EvaluationResult
    metadata: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Its keys, exactly: git_hash, command, config, target, results, metadata. Secrets are replaced."""
        config = self.config.model_dump(mode="json", exclude_none=True)
        target = self.target.model_dump(mode="json", exclude_none=True)
        redactor = Redactor.of(self.config, self.target)
        return {
            "git_hash": git_hash(),
            "command": command_line(self.config, self.target, redactor),
            "config": redactor.document(config),
            "target": redactor.document(target),
            "results": self.result.model_dump(mode="json", exclude_none=True),
            "metadata": redactor.document(self.metadata),
        }


def write_results(folder: Path, report: Report) -> Path:
    """Writes `results.yml` into `folder`, which exists; replaces an earlier one in one step."""
    text = yaml.safe_dump(report.document(), sort_keys=False, allow_unicode=True)
    return replace_file(folder / RESULTS_FILE, text.encode(), 0o644)


def write_samples(folder: Path, records: Sequence[SampleRecord], redactor: Redactor) -> Path:
    """Writes `samples.jsonl` (0600: it holds what was asked and answered), one record a line, sorted by id."""
    ordered = sorted(records, key=lambda record: (record.id, record.sub_query_id))
    rows = (redactor.strings(dataclasses.asdict(record)) for record in ordered)
    lines = (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    return replace_file(folder / SAMPLES_FILE, b"".join(lines), 0o600)


def command_line(config: EvaluationConfig, target: EvaluationTarget, redactor: Redactor) -> str:
    """The `evalside run` command that asks the same again (interceptors are under `target`)."""
    endpoint, params = target.api_endpoint, config.params
    options = {
        "-t": config.type,
        "--url": redactor.url(endpoint.url),
        "--type": endpoint.speaks().value,
        "--model-id": endpoint.model_id,
        "--api-key-name": endpoint.api_key_name,
        "--output-dir": config.output_dir,
        "--limit-samples": params.limit_samples,
        "--parallelism": params.parallelism,
    }
    given = [[name, redactor.text(str(value))] for name, value in options.items() if value is not None]
    return shlex.join(["evalside", "run", *(word for pair in given for word in pair)])


def git_hash() -> str:
    """The commit of the checkout this code runs from; empty where it is installed from a package."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        found = subprocess.run(  # noqa: S603 - the arguments are ours, no shell
            ["git", "-C", str(root), "rev-parse", "--verify", "-q", "HEAD"],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()


def replace_file(path: Path, content: bytes, mode: int) -> Path:
    """Writes a file with this mode, in place of an earlier one, in one step; returns its path."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
