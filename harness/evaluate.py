"""The core call: starts the sidecar, runs a task through it, writes the files, stops the sidecar."""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from harness.api import EvaluationConfig, EvaluationResult, EvaluationTarget
from harness.errors import ConfigurationError
from harness.execution import Start, begin, execute, go_on, new_id
from harness.job import Finished, check
from harness.plan import Plan, PlannedTask
from harness.runs.database import Runs
from harness.runs.going import Going
from harness.withheld import kept

RESULTS_ROOT = Path("evalside-results")
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def evaluate(
    eval_cfg: EvaluationConfig,
    target_cfg: EvaluationTarget,
    metadata: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
) -> EvaluationResult:
    """Runs `eval_cfg.type` against the endpoint through a sidecar of its own, as a run of its own.

    Writes results.yml (with `metadata` as it is), samples.jsonl and sidecar.log into the output folder. Samples that
    got no answer are counted in the metric `errors` and logged as a warning. With the `run_id` of an earlier call it
    goes on with that run: what it has answered is not asked again, and its samples are drawn no second time.

    Raises ConfigurationError, StartError, EndpointError, RunError if the run goes on elsewhere, and EvaluationError if
    not one sample was answered.
    """
    return _blocking(evaluate_async(eval_cfg, target_cfg, metadata, run_id=run_id))


async def evaluate_async(
    eval_cfg: EvaluationConfig,
    target_cfg: EvaluationTarget,
    metadata: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
) -> EvaluationResult:
    """`evaluate` for programs that have an event loop."""
    task = await asyncio.to_thread(check, eval_cfg, target_cfg)
    with Runs() as runs:
        planned = PlannedTask(name=task.name, config=eval_cfg, target=target_cfg, metadata=dict(metadata or {}))
        start = _start(runs, planned, run_id)
        with Going(runs, start.run) as going:
            ended = await execute(going, start)
    for error in ended.failed.values():
        raise error
    [finished] = ended.finished.values()
    warn_of_errors(finished)
    return finished.result


def warn_of_errors(finished: Finished) -> None:
    """Logs how many samples got no answer."""
    errors, total = finished.tally.errors, finished.tally.total
    if errors:
        _log.warning("%d of %d samples got no answer; see %s", errors, total, finished.samples_file)


def new_folder(name: str) -> Path:
    """A folder of results that is not there yet, named for what it holds and the time."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    folder = RESULTS_ROOT / f"{name}-{stamp}"
    return folder if not folder.exists() else folder.with_name(f"{folder.name}-{new_id()}")


def _start(runs: Runs, planned: PlannedTask, run_id: str | None) -> Start:
    known = runs.find(run_id) if run_id is not None and runs.has(run_id) else None
    if known is not None:
        before = [job.name for job in runs.jobs(known)]
        if before != [planned.name]:
            raise ConfigurationError(
                f"run {known.id!r} is of {', '.join(before)}, not of {planned.name!r}; "
                "leave run_id out for a run of its own"
            )
    folder = planned.config.output_dir or (Path(known.folder) if known else new_folder(planned.name))
    config = planned.config.model_copy(update={"output_dir": folder})
    plan = Plan(tasks=[planned.model_copy(update={"config": config})])
    if known is None:
        return begin(runs, run_id or new_id(), plan, folder, by="evaluate")
    folder.mkdir(parents=True, exist_ok=True)
    runs.change(known.id, plan=kept(plan), folder=str(folder))
    runs.change_job(known.id, planned.name, folder=str(folder))
    return go_on(runs, runs.find(known.id), plan, again=True)


def _blocking(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller is
            errors.append(error)

    thread = threading.Thread(target=run, name="evaluate")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
