"""Commands about ended runs: `report`, `compare`, `export`. A run is an id, or the folder of its files."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.errors import ConfigurationError
from harness.launcher.completion import complete_run
from harness.launcher.failing import failing, say
from harness.launcher.ls import AsJson
from harness.reporting import exporting
from harness.reporting.compare import compare as compared
from harness.reporting.compare import in_words
from harness.reporting.folder import Ended, read_folder, task_folders
from harness.reporting.report import REPORT_HTML
from harness.runs.database import Runs
from harness.strict import nearest

_ID_HELP = "A run (the beginning of its id is enough), or the folder of its files."
Id = Annotated[str, typer.Argument(metavar="ID", help=_ID_HELP, autocompletion=complete_run)]
OneTask = Annotated[str | None, typer.Option("-t", "--task", help="A task of the run, where it has several.")]


def report(run: Id, *, as_json: AsJson = False) -> None:
    """Show scores with their intervals and what may have spoilt them, and say where the page is."""
    with failing():
        ended = _tasks(run)
        if as_json:
            typer.echo(json.dumps([each.report for each in ended], indent=2))
            return
        console = Console()
        for each in ended:
            _show(console, each)


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_ID_HELP, autocompletion=complete_run)],
    second: Annotated[str, typer.Argument(metavar="B", help=_ID_HELP, autocompletion=complete_run)],
    *,
    task: OneTask = None,
    metric: Annotated[str | None, typer.Option(help="Default: the task's main one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs of one task by sample: differences, flips, McNemar's p, and what was asked differently."""
    with failing():
        found = compared(_one(first, task), _one(second, task), metric)
    if as_json:
        typer.echo(json.dumps(found.document(), indent=2))
        return
    for line in in_words(found, (first, second)):
        say(Console(), line)


def export(
    run: Id,
    *,
    form: Annotated[
        str, typer.Option("--format", "-f", help=f"{', '.join([*exporting.FORMATS, *exporting.TRACKERS])}.")
    ] = "json",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; standard output without it.", dir_okay=False)
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow's server or folder.")] = None,
    project: Annotated[str, typer.Option(help="MLflow's experiment, or the project of Weights & Biases.")] = "evalside",
) -> None:
    """Write the scores of a run for other tools, or send them to MLflow or Weights & Biases; never its samples."""
    with failing():
        ended = _tasks(run)
        if form == "mlflow":
            sent = exporting.to_mlflow(ended, tracking_uri=tracking_uri, experiment=project)
        elif form == "wandb":
            sent = exporting.to_wandb(ended, project=project)
        else:
            _to_file(ended, form, output)
            return
        say(Console(), f"{form} has it as {', '.join(sent)}")


def _to_file(ended: list[Ended], form: str, output: Path | None) -> None:
    if output is not None:
        exporting.write(ended, form, output)
        say(Console(stderr=True), f"written to {output}")
        return
    typer.echo(exporting.content(ended, form), nl=False)


def _show(console: Console, ended: Ended) -> None:
    if not ended.report:
        raise ConfigurationError(f"{ended.path} has no report.json; its run wrote results and no more")
    for task, scores in ended.report["tasks"].items():
        for name, score in scores.items():
            interval = score.get("interval")
            reach = "" if interval is None else f", 95 % from {interval[0]:.4f} to {interval[1]:.4f}"
            say(console, f"{task}  {name}  {score['value']:.4f}{reach}")
    for finding in ended.report["findings"]:
        say(console, f"  {finding['finding']}: {finding['text']}")
    if not ended.report["findings"]:
        say(console, "  nothing was found that may have spoilt the score")
    say(console, f"{ended.path / REPORT_HTML}")


def _tasks(run: str) -> list[Ended]:
    """The ended tasks of a run or folder. Raises ConfigurationError for none, or for files of another run."""
    path = Path(run)
    if path.is_dir():
        return [read_folder(folder) for folder in task_folders(path)]
    with Runs() as runs:
        known = runs.find(run)
        places = {job.place for job in runs.jobs(known)}
    found = [read_folder(folder) for folder in task_folders(Path(known.folder))]
    for ended in found:
        other = ended.report.get("run")
        if other is not None and other not in places:
            raise ConfigurationError(
                f"{ended.path} holds the files of {other!r}, not those of run {known.id!r}: it has not ended, or the "
                f"other wrote over them; `evalside rerun {known.id} --replay` writes them anew, and each run that is "
                "to be kept needs an --output-dir of its own"
            )
    return found


def _one(run: str, task: str | None) -> Ended:
    """The task of a run that is called so; two of one benchmark are told apart by their folders, `smoke-2`."""
    found = _tasks(run)
    if len(found) == 1 and task in {None, found[0].task, found[0].path.name}:
        return found[0]
    names = {each.path.name if len(found) > 1 else each.task: each for each in found}
    chosen = [each for each in found if each.path.name == task] or [each for each in found if each.task == task]
    if len(chosen) == 1:
        return chosen[0]
    which = f"has no task {task!r}" if task is not None else "has several tasks; choose one with -t"
    raise ConfigurationError(f"{run} {which}{nearest(task or '', names)}")
