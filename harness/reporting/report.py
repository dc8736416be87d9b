"""`report.json` and `report.html`: scores with their intervals, findings, and the samples to look at."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from harness.reporting.findings import Finding, Row
from harness.scoring.statistics import bootstrap_interval, mean, stderr

REPORT_HTML = "report.html"
REPORT_JSON = "report.json"
FORMAT = 1
CONFIDENCE = 0.95
_ROUNDED = 5e-4
"""What a harness may leave of a score, which it may round to three digits."""
SHOWN = 200
"""Samples in the page; `samples.jsonl` has all."""


def report(
    rows: Sequence[Row], results: Mapping[str, Any], findings: Sequence[Finding], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """The document. `results` is the `results:` block of results.yml.

    `interval` is the percentile bootstrap of the mean over samples, at 95 %; of groups there is one each. A score that
    is no mean over the samples that are told of, as of another harness's group of tasks, has none.
    """
    tasks = {name: _scores(task["metrics"], _of(name, rows, results)) for name, task in results["tasks"].items()}
    return {
        "format": FORMAT,
        "task": manifest["task"],
        "run": manifest["run"],
        "model": manifest["model"],
        "confidence": CONFIDENCE,
        "tasks": tasks,
        "groups": _groups(rows),
        "findings": [finding.document() for finding in findings],
        "manifest": manifest,
    }


def _of(task: str, rows: Sequence[Row], results: Mapping[str, Any]) -> Sequence[Row]:
    """The samples of a task: where another harness ran several, those that are grouped under its name."""
    if len(results["tasks"]) == 1:
        return rows
    own = [row for row in rows if row.get("group") == task]
    return own or (rows if task == next(iter(results["tasks"])) else ())


def _scores(metrics: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric, told in metrics.items():
        values = by_sample(rows, metric)
        for name, score in told["scores"].items():
            label = metric if name == metric else f"{metric}.{name}"
            is_mean = bool(values) and abs(mean(values) - score["value"]) <= _ROUNDED
            found[label] = {"value": score["value"], **(_spread(values) if is_mean else {})}
    return found


def _groups(rows: Sequence[Row]) -> dict[str, Any]:
    """The main metric by group, where there are several."""
    by_group: dict[str, list[Row]] = {}
    for row in rows:
        by_group.setdefault(str(row.get("group") or ""), []).append(row)
    if len(by_group) < 2:
        return {}
    metric = str(rows[0]["score_name"])
    scores = {name: by_sample(members, metric) for name, members in sorted(by_group.items())}
    return {name: {"value": mean(values), **_spread(values)} for name, values in scores.items() if values}


def by_sample(rows: Sequence[Row], metric: str) -> list[float]:
    """One value of a metric for each answered sample: the mean of its repeats."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.get("score") is None:
            continue
        score = row["score"] if metric == row["score_name"] else (row.get("scores") or {}).get(metric)
        if score is not None:
            found.setdefault(str(row["id"]), []).append(float(score))
    return [mean(scores) for scores in found.values()]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    interval = bootstrap_interval(values, confidence=CONFIDENCE)
    return {"count": len(values), "stderr": stderr(values), "interval": None if interval is None else list(interval)}


def page(document: Mapping[str, Any], rows: Sequence[Row], *, shown: int = SHOWN) -> str:
    """The report as one HTML file that loads nothing. Samples that failed or scored lowest come first."""
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("harness.reporting").joinpath("report.html.jinja").read_text(encoding="utf-8")
    ordered = sorted(rows, key=lambda row: (-1.0 if row.get("score") is None else row["score"], row["id"]))
    return template.from_string(source).render(report=document, samples=ordered[:shown], total=len(rows))
