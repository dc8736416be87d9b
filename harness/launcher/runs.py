"""Commands about one run: `status`, `info`, `logs`, `kill`, `resume`, `rerun`."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from harness.errors import RunError
from harness.evaluate import RESULTS_ROOT
from harness.execution import begin, check_plan, go_on, new_id, replayed_plan
from harness.launcher.carrying import FailOn, carry
from harness.launcher.completion import complete_run
from harness.launcher.failing import failing, say
from harness.launcher.ls import AsJson, run_row, when
from harness.launcher.tables import screen, table
from harness.plan import Plan, PlannedTask
from harness.reporting.findings import Thresholds
from harness.runs.database import RunRow, Runs
from harness.runs.lock import goes_on, is_held, owner
from harness.withheld import from_variables, restored, without

Id = Annotated[
    str, typer.Argument(metavar="ID", help="A run; the beginning of its id is enough.", autocompletion=complete_run)
]
_POLL_S = 0.2
_KILL_PATIENCE_S = 30.0


def status(run: Id, *, as_json: AsJson = False) -> None:
    """Show how far a run is."""
    with failing(), Runs() as runs:
        found = runs.find(run)
        jobs = runs.jobs(found)
    if as_json:
        typer.echo(json.dumps(run_row(found, jobs), indent=2))
        return
    console = screen()
    say(console, f"run {found.id}: {found.state}, began {when(found.created_at)}, files in {found.folder}")
    shown = table("task", "state", "samples", "cache hits", "errors", "score")
    for job in jobs:
        score = "" if job.score is None else f"{job.score_name} {job.score:.3f}"
        shown.add_row(job.name, job.state, f"{job.done}/{job.total}", str(job.hits), str(job.errors), score)
    console.print(shown)
    for job in jobs:
        if job.message:
            say(console, f"{job.name}: {job.message}")
    if found.state in {"interrupted", "killed", "failed"}:
        say(console, f"`evalside resume {found.id}` goes on with it.")


def info(run: Id) -> None:
    """Show what a run is: its tasks, files, runs in the sidecar and configuration; secrets are redacted."""
    with failing(), Runs() as runs:
        found = runs.find(run)
        jobs = runs.jobs(found)
    document = {
        "run": found.id,
        "state": found.state,
        "began": when(found.created_at),
        "began_by": found.began_by,
        "replays": found.source,
        "folder": found.folder,
        "log": str(runs.log_path(found.id)),
        "tasks": {job.name: {"folder": job.folder, "sidecar_run": job.place, "model_id": job.model_id} for job in jobs},
        "plan": json.loads(found.plan),
    }
    typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def logs(
    run: Id,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run ends.")] = False,
    sidecar: Annotated[bool, typer.Option("--sidecar", help="The sidecar's console instead.")] = False,
) -> None:
    """Print the log of a run."""
    with failing(), Runs() as runs:
        found = runs.find(run)
        path = Path(found.folder) / "sidecar.log" if sidecar else runs.log_path(found.id)
        if not path.exists():
            raise RunError(f"run {found.id!r} has no log {path} yet")
        for text in _lines(path, runs.lock_path(found.id), follow=follow):
            sys.stdout.write(text)
            sys.stdout.flush()


def kill(run: Id) -> None:
    """Stop a run; `evalside resume` goes on with it."""
    with failing(), Runs() as runs:
        found = runs.find(run)
        path = runs.lock_path(found.id)
        pid = owner(path)
        if pid is None or not goes_on(path):
            raise RunError(f"run {found.id!r} does not run; its state is {found.state!r}")
        if found.began_by == "evaluate":
            raise RunError(
                f"run {found.id!r} belongs to a program of its own that called evaluate(), process {pid}; end that"
            )
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _KILL_PATIENCE_S
        while is_held(path):
            if time.monotonic() > deadline:
                raise RunError(f"run {found.id!r} does not end; `kill -9 {pid}` ends it, and it can go on all the same")
            time.sleep(_POLL_S)
        say(Console(), f"run {found.id} is stopped; `evalside resume {found.id}` goes on with it.")


Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        metavar="PLACE=VARIABLE",
        help="Where a secret was written out in the configuration, and the variable that holds it now; repeatable.",
    ),
]


def resume(run: Id, *, secret: Secrets = None, fail_on: FailOn = None) -> None:
    """Go on with a run that was interrupted, killed, or has samples without an answer."""
    with failing(), Runs() as runs:
        thresholds = Thresholds.read(fail_on or ())
        found = runs.find(run)
        carry(runs, go_on(runs, found, _plan(found, secret, replays=found.source is not None)), thresholds)


def rerun(
    run: Id,
    *,
    secret: Secrets = None,
    fail_on: FailOn = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Answer from the run's record alone; no model server is asked.")
    ] = False,
    output_dir: Annotated[
        Path | None, typer.Option(help="Default: a new folder under ./evalside-results.", file_okay=False)
    ] = None,
) -> None:
    """Do a run again as a new one: with fresh samples, or with --replay with those of the run."""
    with failing(), Runs() as runs:
        thresholds = Thresholds.read(fail_on or ())
        found = runs.find(run)
        if replay and found.state != "success":
            raise RunError(
                f"run {found.id!r} is {found.state}, so it has no whole record; `evalside resume {found.id}`"
            )
        plan, run_id = _plan(found, secret, replays=replay), new_id()
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        folder = output_dir or RESULTS_ROOT / f"{stamp}-{run_id}"
        tasks = [_moved(task, folder if len(plan.tasks) == 1 else folder / task.name) for task in plan.tasks]
        again = plan.model_copy(update={"tasks": tasks})
        if replay:
            again = replayed_plan(runs, again, found)
        check_plan(again)
        carry(runs, begin(runs, run_id, again, folder, by="run", source=found if replay else None), thresholds)


def _plan(run: RunRow, secrets: list[str] | None, *, replays: bool) -> Plan:
    given = from_variables(secrets or ())
    return without(run.plan) if replays else restored(run.id, run.plan, given)


def _moved(task: PlannedTask, folder: Path) -> PlannedTask:
    return task.model_copy(update={"config": task.config.model_copy(update={"output_dir": folder})})


def _lines(path: Path, lock: Path, *, follow: bool) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        while True:
            going = follow and goes_on(lock)
            text = file.read()
            if text:
                yield text
            elif not going:
                return
            else:
                time.sleep(_POLL_S)
