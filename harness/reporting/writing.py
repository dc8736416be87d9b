"""Writes what is told of a task beside its results: metrics, manifest, reports, the configuration to run it again."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml

from harness.api import EvaluationConfig, EvaluationTarget
from harness.processes import Process
from harness.records import SampleRecord
from harness.redact import Redactor
from harness.reporting.findings import Finding, of_samples, of_sidecar
from harness.reporting.manifest import MANIFEST_FILE, Told, manifest
from harness.reporting.metrics import METRICS_FILE, metrics
from harness.reporting.report import REPORT_HTML, REPORT_JSON, page, report
from harness.reporting.sidecar import SidecarFacts
from harness.results import replace_file

RUN_CONFIG_FILE = "run_config.yml"
_REFERENCE = re.compile(r"(\\*)\$\{")


@dataclass(frozen=True, slots=True)
class Material:
    """What a task's files are made of.

    `results` is the document of `results.yml`, `model` what requests named, `data` the facts of the task's data.
    `processes` are those that worked on it, this one last.
    """

    task: str
    run: str
    results: Mapping[str, Any]
    records: Sequence[SampleRecord]
    sidecar: SidecarFacts
    processes: Sequence[Process]
    redactor: Redactor
    model: str | None = None
    data: Sequence[Any] = ()
    harness: Mapping[str, str] | None = None


def write_reports(folder: Path, made_of: Material) -> list[Finding]:
    """Writes the files, and returns the findings that are in them. What holds prompts is 0600."""
    rows = [made_of.redactor.strings(dataclasses.asdict(record)) for record in made_of.records]
    findings = [*of_samples(rows), *of_sidecar(made_of.sidecar.run)]
    told = manifest(_told(made_of, rows, _run_config(folder)), made_of.sidecar)
    document = report(rows, made_of.results["results"], findings, told)
    _json(folder / METRICS_FILE, metrics(made_of.sidecar.run, made_of.processes), 0o644)
    _json(folder / MANIFEST_FILE, told, 0o644)
    _json(folder / REPORT_JSON, document, 0o600)
    replace_file(folder / REPORT_HTML, page(document, rows).encode(), 0o600)
    return findings


def write_run_config(folder: Path, config: EvaluationConfig, target: EvaluationTarget, redactor: Redactor) -> Path:
    """Writes the task as a configuration of the launcher; `evalside run --config` with it asks the same again.

    Secrets are by reference; a header that held one has to be filled in anew.
    """
    params = config.params.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    given = target.model_dump(mode="json", exclude_none=True)
    document: dict[str, Any] = {
        "defaults": [{"execution": "local"}, {"deployment": "none"}, "_self_"],
        "target": {"api_endpoint": given["api_endpoint"]},
        "evaluation": {"tasks": [{"name": config.type, "overrides": {"config.params": params} if params else {}}]},
    }
    if given.get("proxy"):
        document["proxy"] = given["proxy"]
    if config.judge is not None:
        document["judge"] = config.judge.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(_literal(redactor.document(document)), sort_keys=False, allow_unicode=True)
    return replace_file(folder / RUN_CONFIG_FILE, text.encode(), 0o644)


def _literal(value: Any) -> Any:
    """The same, with `${` in texts escaped: the launcher would take it for a reference (OmegaConf's interpolation)."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: found[1] * 2 + r"\${", value)
    if isinstance(value, Mapping):
        return {name: _literal(item) for name, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value


def _told(made_of: Material, rows: Sequence[Mapping[str, Any]], run_config: Mapping[str, Any] | None) -> Told:
    results = made_of.results
    return Told(
        task=made_of.task,
        run=made_of.run,
        git_hash=results["git_hash"],
        command=results["command"],
        config=results["config"],
        target=results["target"],
        started_at=_iso(made_of.processes[0].started),
        ended_at=_iso(made_of.processes[-1].seen),
        model=made_of.model,
        data=made_of.data,
        harness=made_of.harness,
        samples={
            "asked": len(rows),
            "answered": sum(row["error"] is None for row in rows),
            "from_cache": sum(row["cache"] in {"hit", "coalesced"} for row in rows),
        },
        run_config=run_config,
    )


def _run_config(folder: Path) -> Mapping[str, Any] | None:
    """What `run_config.yml` holds, secrets replaced; None where nobody wrote it."""
    path = folder / RUN_CONFIG_FILE
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def _json(path: Path, document: Mapping[str, Any], mode: int) -> None:
    replace_file(
        path, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str), mode
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
