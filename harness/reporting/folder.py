"""The files of a task that ended, read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from harness.errors import ConfigurationError
from harness.results import RESULTS_FILE, SAMPLES_FILE

REPORT_FILE = "report.json"


@dataclass(frozen=True, slots=True)
class Ended:
    """A task's folder: its `results.yml`, its samples, and its `report.json` where there is one."""

    path: Path
    results: Mapping[str, Any]
    rows: list[dict[str, Any]]
    report: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The name of the task."""
        return str(next(iter(self.results["results"]["tasks"])))

    @property
    def model(self) -> str | None:
        """The model that was asked for: the report knows it also where the configuration left it to the endpoint."""
        return self.report.get("model") or (self.results["target"].get("api_endpoint") or {}).get("model_id")

    @property
    def score_name(self) -> str:
        """The task's main metric: the first of its results."""
        return str(next(iter(self.results["results"]["tasks"][self.task]["metrics"])))


def read_folder(path: Path) -> Ended:
    """The files of the task that ended in `path`. Raises ConfigurationError if one is missing or broken."""
    results = _yaml(path / RESULTS_FILE)
    if not isinstance(results, dict) or not (results.get("results") or {}).get("tasks"):
        raise ConfigurationError(f"{path / RESULTS_FILE} holds no results of a task; was its run interrupted?")
    report = path / REPORT_FILE
    return Ended(path, results, _rows(path / SAMPLES_FILE), _json(report) if report.exists() else {})


def task_folders(path: Path) -> list[Path]:
    """The folders of ended tasks at `path`: itself, or those directly below it. Raises ConfigurationError for none."""
    if (path / RESULTS_FILE).is_file():
        return [path]
    below = sorted(each.parent for each in path.glob(f"*/{RESULTS_FILE}")) if path.is_dir() else []
    if not below:
        raise ConfigurationError(f"there is no {RESULTS_FILE} in {path} or directly below it; name the folder of a run")
    return below


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(_content(path))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is no YAML: {error}") from None


def _json(path: Path) -> Any:
    try:
        return json.loads(_content(path))
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}") from None


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(_content(path).splitlines(), start=1):
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise ConfigurationError(f"line {number} of {path} is no JSON: {error}") from None
    return rows


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
