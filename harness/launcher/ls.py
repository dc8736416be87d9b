"""`evalside ls`: the tasks there are, and the runs of this folder."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from harness.launcher.failing import failing, say
from harness.launcher.tables import screen, table
from harness.runs.database import JobRow, RunRow, Runs
from harness.tasks.catalog import catalog

ls_app = typer.Typer(name="ls", help="List tasks and runs.", no_args_is_help=True)

_WIDE = 140
"""Columns of a screen that holds all there is about a task."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@ls_app.command("tasks")
def tasks(*, as_json: AsJson = False) -> None:
    """List the tasks, and which endpoint each needs; data set and license on a wide screen, or with --json."""
    with failing():
        found = catalog()
    if as_json:
        typer.echo(json.dumps([task.row() for task in found], indent=2))
        return
    console = screen()
    origin = ("dataset", "license") if console.width >= _WIDE else ()
    shown = table("task", "harness", "endpoint type", "needs", *origin)
    for task in found:
        kinds, needs = " or ".join(task.endpoint_types), ", ".join(task.needs)
        shown.add_row(task.name, task.harness, kinds, needs, *(getattr(task, name) for name in origin))
    console.print(shown)


@ls_app.command("runs")
def runs(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the runs of this folder, newest first."""
    with failing(), Runs() as known:
        found = known.all(limit)
        rows = [run_row(run, known.jobs(run)) for run in found]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        say(Console(), "There are no runs here yet; `evalside run` makes one.")
        return
    shown = table("run", "began", "state", "tasks", "samples", "scores")
    for run, row in zip(found, rows, strict=True):
        scores = ", ".join(f"{job['score']:.3f}" for job in row["tasks"] if job["score"] is not None)
        done, total = (sum(job[name] for job in row["tasks"]) for name in ("done", "total"))
        names = ", ".join(job["name"] for job in row["tasks"])
        shown.add_row(run.id, when(run.created_at), run.state, names, f"{done}/{total}", scores)
    screen().print(shown)


def run_row(run: RunRow, jobs: list[JobRow]) -> dict[str, Any]:
    """A run as JSON, without its plan: that may hold headers with keys."""
    row = {name: value for name, value in asdict(run).items() if name != "plan"}
    return {**row, "tasks": [asdict(job) for job in jobs]}


def when(seconds: float) -> str:
    """A time as people write it."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
