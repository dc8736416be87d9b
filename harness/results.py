"""Turns sample records into results, and writes both to files, atomically."""

import dataclasses
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
import yaml

from harness.api import (
    EvaluationConfig,
    EvaluationResult,
    EvaluationTarget,
    MetricResult,
    Score,
    ScoreStats,
    TaskResult,
)
from harness.runner import SampleRecord

RESULTS_FILE = "results.yml"
SAMPLES_FILE = "samples.jsonl"
_SECRET = re.compile(
    r"(.*[-_])?(api[-_]?key|authorization|password|passwd|secret|credentials?|(access|auth|bearer|client)[-_]token|(set-)?cookie)"
    r"|key|token|sig|signature|x-auth(-key|-token)?|.*-subscription-key",
    re.IGNORECASE,
)
_HIDDEN = "***"


def task_result(records: Sequence[SampleRecord], score_name: str) -> TaskResult:
    """The metric `score_name` over the samples that were answered, and the number of those that were not."""
    scores = [record.score for record in records if record.score is not None]
    stats = score_stats(scores)
    metrics = {score_name: MetricResult(scores={score_name: Score(value=stats.mean or 0.0, stats=stats)})}
    metrics["errors"] = MetricResult(scores={"count": Score(value=len(records) - len(scores))})
    return TaskResult(metrics=metrics)


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
        """Its keys, exactly: git_hash, command, config, target, results, metadata. Secrets are hidden."""
        config = self.config.model_dump(mode="json", exclude_none=True)
        target = self.target.model_dump(mode="json", exclude_none=True)
        return {
            "git_hash": git_hash(),
            "command": command_line(self.config, self.target),
            "config": hide_secrets(config),
            "target": hide_secrets(target),
            "results": self.result.model_dump(mode="json", exclude_none=True),
            "metadata": hide_secrets(dict(self.metadata)),
        }


def write_results(folder: Path, report: Report) -> Path:
    """Writes `results.yml` into `folder`, which exists; replaces an earlier one in one step."""
    text = yaml.safe_dump(report.document(), sort_keys=False, allow_unicode=True)
    return _replace(folder / RESULTS_FILE, text.encode(), 0o644)


def write_samples(folder: Path, records: Sequence[SampleRecord]) -> Path:
    """Writes `samples.jsonl` (0600: it holds what was asked and answered), one record a line, sorted by id."""
    ordered = sorted(records, key=lambda record: (record.id, record.sub_query_id))
    lines = (orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in ordered)
    return _replace(folder / SAMPLES_FILE, b"".join(lines), 0o600)


def command_line(config: EvaluationConfig, target: EvaluationTarget) -> str:
    """The `evalside run` command that asks the same again (interceptors are under `target`)."""
    endpoint, params = target.api_endpoint, config.params
    options = {
        "-t": config.type,
        "--url": hide_in_url(endpoint.url),
        "--type": endpoint.speaks().value,
        "--model-id": endpoint.model_id,
        "--api-key-name": endpoint.api_key_name,
        "--output-dir": config.output_dir,
        "--limit-samples": params.limit_samples,
        "--parallelism": params.parallelism,
    }
    given = [[name, str(value)] for name, value in options.items() if value is not None]
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


def hide_secrets(value: Any) -> Any:
    """The same document with `***` for the values of keys that name a secret, in URLs too."""
    if isinstance(value, Mapping):
        return {
            key: _HIDDEN if _SECRET.fullmatch(str(key)) and item is not None else hide_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [hide_secrets(item) for item in value]
    return hide_in_url(value) if isinstance(value, str) and "://" in value else value


def hide_in_url(url: str) -> str:
    """The URL without the values of query parameters that name a secret."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if not any(_SECRET.fullmatch(name) for name, _ in pairs):
        return url
    shown = [(name, _HIDDEN if _SECRET.fullmatch(name) else value) for name, value in pairs]
    return parts._replace(query=urlencode(shown, safe="*")).geturl()


def _replace(path: Path, content: bytes, mode: int) -> Path:
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
