"""`manifest.json`: what a stranger needs to know to repeat a run, and to see whether it is the same."""

import hashlib
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib import metadata
from typing import Any

import orjson

from harness.reporting.sidecar import SidecarFacts

MANIFEST_FILE = "manifest.json"
FORMAT = 1
_PACKAGES = ("evalside", "httpx", "aiohttp", "uvicorn", "fastapi", "orjson", "jinja2", "datasets")


@dataclass(frozen=True, slots=True)
class Told:
    """What the harness knows of a task that ran. Secrets are redacted before they get here.

    `model` is the one that was asked for, None if requests named none. `data` are the facts of the task's data sets,
    `harness` the foreign harness and its version, None for native tasks. `run_config` is what `run_config.yml` holds.
    """

    task: str
    run: str
    git_hash: str
    command: str
    config: Mapping[str, Any]
    target: Mapping[str, Any]
    started_at: str
    ended_at: str
    model: str | None = None
    data: Sequence[Any] = ()
    harness: Mapping[str, str] | None = None
    samples: Mapping[str, Any] = field(default_factory=dict)
    run_config: Mapping[str, Any] | None = None


def manifest(told: Told, sidecar: SidecarFacts) -> dict[str, Any]:
    """The document. Every part that the sidecar tells is null or empty where it could not be asked."""
    run = sidecar.run
    return {
        "format": FORMAT,
        "task": told.task,
        "run": told.run,
        "model": told.model,
        "command": told.command,
        "started_at": told.started_at,
        "ended_at": told.ended_at,
        "versions": versions() | {"git_hash": told.git_hash},
        "harness": told.harness,
        "config": told.config,
        "target": told.target,
        "run_config": told.run_config,
        "config_fingerprint": fingerprint({"config": told.config, "target": told.target}),
        "pipeline_fingerprint": sidecar.config.get("fingerprint"),
        "pipeline": sidecar.config.get("pipeline", []),
        "upstream": {"identities": run.get("identities", []), "mixed": run.get("mixed")},
        "changes": run.get("changes", []),
        "cache": run.get("cache", {}),
        "data": [asdict(each) if is_dataclass(each) and not isinstance(each, type) else each for each in told.data],
        "samples": told.samples,
        "reproduce": _reproduce(told.run),
    }


def _reproduce(run: str) -> list[str]:
    """The commands that repeat the run without a model server, on a machine that has the bundle."""
    return [
        f"evalside cache export --run {run} -o {run}.evalside",
        f"evalside serve --replay {run}.evalside --port 4000",
        "evalside run --config manifest.json -o target.api_endpoint.url=http://localhost:4000/v1",
    ]


def versions() -> dict[str, str]:
    """The versions of Python, the machine and what answers depend on; packages that are not there are left out."""
    found = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "implementation": sys.implementation.name,
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def fingerprint(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document's JSON with sorted keys, in hexadecimal."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
