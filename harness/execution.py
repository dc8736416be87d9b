"""Carries out a plan: starts what it needs, runs its tasks side by side, keeps the list of runs up to date."""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.api import ApiEndpoint
from harness.asked import DEFAULT_PARALLELISM
from harness.asker import ABORTED
from harness.deployments.command import Deployed, arguments
from harness.errors import ConfigurationError, HarnessError, RunError
from harness.external.task import ForeignTask
from harness.gate import Gate
from harness.job import Finished, Job, check, configured, forget, run_job
from harness.journal import is_begun
from harness.plan import Plan, PlannedTask
from harness.records import Tally
from harness.results import main_score
from harness.runs.database import JobRow, RunRow, Runs
from harness.runs.going import Going
from harness.sidecars import Sidecars
from harness.withheld import kept

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")
Watch = Callable[[str, Tally], None]


@dataclass
class Ended:
    """What became of the tasks of a run, by name: each is in one of the two."""

    run: str
    finished: dict[str, Finished] = field(default_factory=dict)
    failed: dict[str, HarnessError] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """A run that begins or goes on. `openings` say, by task, what its sidecar is told first; `replays` see Job."""

    run: str
    plan: Plan
    folder: Path
    openings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    replays: bool = False


def new_id() -> str:
    """An id that no other run has, short enough to type a part of."""
    return secrets.token_hex(4)


def place_of(run: str, task: str) -> str:
    """The run in the sidecar that a task's requests are in."""
    return f"{run}.{_NOT_IN_A_NAME.sub('-', task)}"


def begin(runs: Runs, run: str, plan: Plan, folder: Path, *, by: str, source: RunRow | None = None) -> Start:
    """Enters a new run, whose plan is checked, and makes the folders of its tasks.

    With a `source` it replays that run's answers only; the plan is then `replayed_plan`'s.
    """
    if not _RUN_ID.fullmatch(run):
        raise ConfigurationError(
            f"{run!r} is not an id for a run: a letter or digit, then up to 63 letters, digits, dots, underscores or "
            "dashes"
        )
    openings: dict[str, Mapping[str, Any]] = {}
    if source is not None:
        openings = {job.name: {"from": job.place, "mode": "replay"} for job in runs.jobs(source)}
    jobs = [JobRow(run, task.name, place_of(run, task.name), str(_folder(task))) for task in plan.tasks]
    for job in jobs:
        try:
            Path(job.folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"cannot make the output folder {job.folder}: {error.strerror}") from error
    runs.add(RunRow(run, time.time(), "pending", by, str(folder), kept(plan), source.id if source else None), jobs)
    return Start(run, plan, folder, openings, source is not None)


def replayed_plan(runs: Runs, plan: Plan, source: RunRow) -> Plan:
    """The plan of a replay: it asks the models that were asked, and needs no keys."""
    models = {job.name: job.model_id for job in runs.jobs(source)}
    return plan.model_copy(update={"tasks": [_replayed(task, models[task.name]) for task in plan.tasks]})


def go_on(runs: Runs, row: RunRow, plan: Plan, *, again: bool = False) -> Start:
    """Takes up a run where it stopped. `plan` is its own, with its secrets.

    Raises RunError if it is complete, unless it is to be gone through `again`.
    """
    jobs = {job.name: job for job in runs.jobs(row)}
    openings: dict[str, Mapping[str, Any]] = {}
    left = []
    for task in plan.tasks:
        job = jobs[task.name]
        if job.state != "success" or again:
            left.append(task)
        if row.source is not None and job.total == 0:
            openings[task.name] = {"from": place_of(row.source, task.name), "mode": "replay"}
        elif (again and not is_begun(Path(job.folder))) or (job.message or "").startswith(ABORTED):
            openings[task.name] = {}
        elif isinstance(configured(task.config), ForeignTask):
            openings[task.name] = {}  # it begins anew, and its answers so far are replayed
    if not left:
        raise RunError(f"run {row.id!r} is complete; `evalside rerun {row.id}` does it again")
    remaining = plan.model_copy(update={"tasks": left})
    check_plan(remaining)
    return Start(row.id, remaining, Path(row.folder), openings, row.source is not None)


def check_plan(plan: Plan) -> None:
    """Raises ConfigurationError for what cannot work, before anything is started or written."""
    for task in plan.tasks:
        check(task.config, task.target)
    if plan.deployment is not None:
        arguments(plan.deployment, port=0)


def carry_out(runs: Runs, start: Start, watch: Watch = lambda *_: None) -> Ended:
    """Runs the tasks, with the model server that the plan wants. Ctrl-C leaves a run that can go on."""
    with Going(runs, start.run) as going, ExitStack() as stack:
        endpoint = None
        if start.plan.deployment is not None and not start.replays:
            going.say("starting the model server")
            deployed = Deployed(start.plan.deployment, log_path=start.folder / "deployment.log")
            endpoint = stack.enter_context(deployed).endpoint()
            going.say(f"the model server answers at {endpoint.url}")
        return asyncio.run(execute(going, start, watch, endpoint))


async def execute(
    going: Going, start: Start, watch: Watch = lambda *_: None, endpoint: ApiEndpoint | None = None
) -> Ended:
    """Runs the tasks. An error of one is kept, and the others go on. `endpoint` takes the place of the tasks' own."""
    plan, ended = start.plan, Ended(start.run)
    going.say(f"run {start.run}: {', '.join(task.name for task in plan.tasks)}")
    with Sidecars(start.folder, (going.descriptor,)) as sidecars:
        largest = max(task.config.params.parallelism or DEFAULT_PARALLELISM for task in plan.tasks)
        gate = Gate(plan.execution.parallelism or largest)
        turn = asyncio.Semaphore(1 if plan.execution.mode == "sequential" else len(plan.tasks))
        around = _Around(going, sidecars, gate, watch, ended)

        async def one(task: PlannedTask) -> None:
            async with turn:
                await _one(_job(start, task, endpoint), around)

        try:
            async with asyncio.TaskGroup() as group:
                for task in plan.tasks:
                    group.create_task(one(task))
        except ExceptionGroup as errors:
            raise _first(errors) from None  # a mistake of a task's code: told as it is, not as groups of one
    ended.finished = {task.name: ended.finished[task.name] for task in plan.tasks if task.name in ended.finished}
    good = not ended.failed and not any(each.tally.errors for each in ended.finished.values())
    going.end("success" if good else "failed")
    return ended


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass(frozen=True)
class _Around:
    going: Going
    sidecars: Sidecars
    gate: Gate
    watch: Watch
    ended: Ended


async def _one(job: Job, around: _Around) -> None:
    def on_progress(tally: Tally) -> None:
        around.going.progress(job.name, tally)
        around.watch(job.name, tally)

    try:
        done = await run_job(
            job, around.sidecars, around.gate, on_progress, lambda line: around.going.say(f"{job.name}: {line}")
        )
    except HarnessError as error:
        around.ended.failed[job.name] = error
        around.going.task_ended(job.name, "failed", {"message": str(error)})
        return
    around.ended.finished[job.name] = done
    name, score = main_score(next(iter(done.result.tasks.values())))
    tally = done.tally
    values = {"score_name": name, "score": score.value, "model_id": done.model_id, "message": None}
    values |= {count: getattr(tally, count) for count in ("total", "done", "errors", "hits", "seconds")}
    around.going.task_ended(job.name, "failed" if tally.errors else "success", values)
    if not tally.errors:  # not before: a run that is killed here is gone through again, with all that it has
        forget(job)


def _job(start: Start, task: PlannedTask, endpoint: ApiEndpoint | None) -> Job:
    target = task.target
    if endpoint is not None:
        given = {"url": endpoint.url, "model_id": target.api_endpoint.model_id or endpoint.model_id}
        target = target.model_copy(update={"api_endpoint": target.api_endpoint.model_copy(update=given)})
    folder = _folder(task)
    place = place_of(start.run, task.name)
    opening = start.openings.get(task.name)
    return Job(task.name, place, task.config, target, folder, task.metadata, opening, start.replays)


def _replayed(task: PlannedTask, model_id: str | None) -> PlannedTask:
    """A task that asks the model which was asked, with no key where there is none: no model server will want it."""
    endpoint = task.target.api_endpoint
    given: dict[str, Any] = {"model_id": endpoint.model_id or model_id}
    if endpoint.api_key_name is not None and not os.environ.get(endpoint.api_key_name):
        given |= {"api_key_name": None, "api_key": None}
    target = task.target.model_copy(update={"api_endpoint": endpoint.model_copy(update=given)})
    return task.model_copy(update={"target": target})


def _folder(task: PlannedTask) -> Path:
    assert task.config.output_dir is not None, "a planned task has its folder"
    return task.config.output_dir
