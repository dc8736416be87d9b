"""The core call: starts the sidecar, runs a task through it, writes the files, stops the sidecar."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.api import EvaluationConfig, EvaluationResult, EvaluationTarget
from harness.errors import ConfigurationError, EvaluationError
from harness.proxy_process import Sidecar, require_key
from harness.redact import Redactor
from harness.results import Report, evaluation_result, write_results, write_samples
from harness.runner import Asked, OnProgress, SampleRecord, Tally, run_task
from harness.tasks import find_task
from harness.tasks.base import JudgedTask, Task

RESULTS_ROOT = Path("evalside-results")
SIDECAR_LOG = "sidecar.log"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What to run, against what. `prepare()` makes one that has been checked and whose output folder exists."""

    config: EvaluationConfig
    target: EvaluationTarget
    folder: Path
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A run that ended: its results, its records, what it took, and its files."""

    result: EvaluationResult
    records: list[SampleRecord]
    tally: Tally
    results_file: Path
    samples_file: Path


def evaluate(
    eval_cfg: EvaluationConfig, target_cfg: EvaluationTarget, metadata: Mapping[str, Any] | None = None
) -> EvaluationResult:
    """Runs `eval_cfg.type` against the endpoint through a sidecar of its own.

    Writes results.yml (with `metadata` as it is), samples.jsonl and sidecar.log into the output folder. Samples that
    got no answer are counted in the metric `errors` and logged as a warning. Raises ConfigurationError, StartError,
    EndpointError, and EvaluationError if not one sample was answered.
    """
    finished = run_job(prepare(eval_cfg, target_cfg, metadata))
    errors, total = finished.tally.errors, finished.tally.total
    if errors:
        _log.warning("%d of %d samples got no answer; see %s", errors, total, finished.samples_file)
    return finished.result


def prepare(eval_cfg: EvaluationConfig, target_cfg: EvaluationTarget, metadata: Mapping[str, Any] | None = None) -> Job:
    """Checks the configuration and makes the output folder. Raises ConfigurationError; nothing is silently ignored."""
    task = _check(eval_cfg, target_cfg)
    require_key(target_cfg.api_endpoint)
    folder = eval_cfg.output_dir
    if folder is None:
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        folder = RESULTS_ROOT / f"{task.name}-{stamp}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot make the output folder {folder}: {error.strerror}") from error
    return Job(eval_cfg.model_copy(update={"output_dir": folder}), target_cfg, folder, metadata or {})


def run_job(job: Job, on_progress: OnProgress = lambda _: None) -> Finished:
    """Runs a job through a sidecar of its own. `on_progress` is called after every sample."""
    with Sidecar(job.target.api_endpoint, log_path=job.folder / SIDECAR_LOG) as sidecar:
        return run_through(sidecar.url, job, on_progress)


def run_through(sidecar_url: str, job: Job, on_progress: OnProgress = lambda _: None) -> Finished:
    """Runs a job through a sidecar that is already there, and writes its files."""
    task, endpoint = find_task(job.config.type, job.config.params.extra), job.target.api_endpoint
    redactor = Redactor.of(job.config, job.target)
    asked = Asked(sidecar_url, endpoint.speaks(), endpoint.model_id, job.config.params, redactor)
    records, tally = asyncio.run(run_task(task, asked, on_progress))
    samples_file = write_samples(job.folder, records, redactor)
    if tally.errors == tally.total:
        raise EvaluationError(
            f"none of the {tally.total} samples got an answer; the first error was: {records[0].error}\n"
            f"All of them are in {samples_file}"
        )
    result = evaluation_result(task, records)
    results_file = write_results(job.folder, Report(job.config, job.target, result, job.metadata))
    return Finished(result, records, tally, results_file, samples_file)


def _check(config: EvaluationConfig, target: EvaluationTarget) -> Task:
    task = find_task(config.type, config.params.extra)
    kind = target.api_endpoint.speaks()
    if kind not in task.endpoint_types:
        kinds = " or ".join(sorted(task.endpoint_types))
        raise ConfigurationError(f"task {task.name!r} needs an endpoint of type {kinds}, not {kind.value!r}")
    if target.api_endpoint.stream:
        raise ConfigurationError(f"stream: true, but task {task.name!r} asks for plain answers; leave stream out")
    if config.params.task not in {None, task.name}:
        raise ConfigurationError(f"params.task is {config.params.task!r}, but the task is {task.name!r}; leave it out")
    if isinstance(task, JudgedTask):
        raise ConfigurationError(
            f"task {task.name!r} is graded by a judge, and evaluate() asks none; "
            "run it with harness.runner.run_task and an Asked that has a judge"
        )
    task.samples()  # data that cannot be had are told before anything starts
    return task
