"""Carries a run out in front of a user: what it is, its progress, what came of it, and how to go on."""

from typing import Annotated

import typer
from rich.console import Console

from harness.errors import ConfigurationError
from harness.execution import Ended, Start, carry_out
from harness.external.task import ForeignTask
from harness.launcher.display import progress, summary
from harness.launcher.failing import FAILED, SPOILT, USAGE, say
from harness.launcher.tables import screen
from harness.process import termination_unwinds
from harness.records import Tally
from harness.reporting.findings import NOTHING_FAILS, Thresholds
from harness.reporting.report import REPORT_HTML
from harness.runs.database import Runs
from harness.tasks.catalog import resolve

FailOn = Annotated[
    list[str] | None,
    typer.Option(help="FINDING or FINDING=SHARE, such as truncated=0.05: exit code 3 above it; repeatable."),
]


def carry(runs: Runs, start: Start, thresholds: Thresholds = NOTHING_FAILS) -> None:
    """Runs it. Raises typer.Exit: 1 if a task failed or a sample got no answer, 3 if a finding is above its threshold.

    KeyboardInterrupt after Ctrl-C.
    """
    console, errors = screen(), Console(stderr=True)
    say(console, f"run {start.run}, files in {start.folder}")
    for task in start.plan.tasks:
        found = resolve(task.config.type)
        same = task.name in {found.entry.name, found.entry.qualified}
        say(console, f"  {found.said}" if same else f"  {task.name} is {found.said}")
        foreign = ForeignTask.of(found.entry)
        needed = foreign.to_install(task.config) if foreign is not None else ()
        if needed:
            say(console, f"  {task.name}: installing {', '.join(needed)} first, once; this may take minutes")
    seen: dict[str, Tally] = {}
    try:
        with termination_unwinds(), progress(console) as show:

            def watch(task: str, tally: Tally) -> None:
                seen[task] = tally
                show(task, tally)

            ended = carry_out(runs, start, watch)
    except (KeyboardInterrupt, SystemExit):
        done, total = (sum(getattr(tally, name) for tally in seen.values()) for name in ("done", "total"))
        what = f"{done} of {total} samples were answered" if total else "no sample was asked yet"
        say(errors, f"interrupted: {what}. `evalside resume {start.run}` goes on; nothing is asked twice.")
        raise
    _tell(ended, start, console, errors)
    exceeded = [line for done in ended.finished.values() for line in thresholds.exceeded(done.findings)]
    for line in exceeded:
        say(errors, f"error: {line}")
    if exceeded:
        raise typer.Exit(SPOILT)


def _tell(ended: Ended, start: Start, console: Console, errors: Console) -> None:
    several = len(start.plan.tasks) > 1
    if ended.finished:
        console.print(summary(ended.finished))
        for name, done in ended.finished.items():
            for finding in done.findings:
                said = f"{finding.finding}: {finding.text}"
                say(console, f"{name}: {said}" if several else said)
            say(console, f"{done.results_file}\n{done.samples_file}\n{done.results_file.with_name(REPORT_HTML)}")
    bad = False
    for name, error in ended.failed.items():
        bad = True
        say(errors, f"error: {name}: {error}" if several else f"error: {error}")
    for done in ended.finished.values():
        if done.tally.errors:
            bad = True
            first = next(record for record in done.records if record.error is not None)
            say(errors, f"error: {done.tally.errors} samples got no answer; the first, {first.id}: {first.error}")
    if bad:
        usage = not ended.finished and all(isinstance(error, ConfigurationError) for error in ended.failed.values())
        if usage:
            raise typer.Exit(USAGE)
        say(errors, f"`evalside resume {start.run}` asks again for what got no answer.")
        raise typer.Exit(FAILED)
