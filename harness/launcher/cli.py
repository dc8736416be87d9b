"""`evalside run`: tasks, an endpoint, and what came of it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import ConfigurationError
from harness.evaluate import new_folder
from harness.execution import begin, check_plan, new_id
from harness.launcher.carrying import FailOn, carry
from harness.launcher.completion import complete_task
from harness.launcher.compose import Source, compose
from harness.launcher.config import Wanted, make_plan, output_dir
from harness.launcher.dry_run import describe
from harness.launcher.failing import failing
from harness.reporting.findings import Thresholds
from harness.runs.database import Runs
from harness.withheld import refuse_withheld

Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "-t",
        "--task",
        help="A task to run, or to choose of the configuration's; may be repeated. `evalside ls tasks` lists them.",
        autocompletion=complete_task,
    ),
]


def run(  # noqa: PLR0913 - one parameter for each option
    *,
    task: Tasks = None,
    url: Annotated[str | None, typer.Option(help="The model server: its origin, …/v1 or a full endpoint URL.")] = None,
    model_id: Annotated[str | None, typer.Option(help="Default: the only model the endpoint lists.")] = None,
    api_key_name: Annotated[str | None, typer.Option(help="NAME of the variable that holds the key.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output-dir", help="Default: a new folder under ./evalside-results.", file_okay=False),
    ] = None,
    limit_samples: Annotated[
        str | None, typer.Option(help="A number of samples, or a share like 0.1.", metavar="N")
    ] = None,
    parallelism: Annotated[int | None, typer.Option(help="Requests in flight of a task. Default: 4.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="chat or completions. Default: by the URL's end, else chat.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file with the configuration of the run.", dir_okay=False)
    ] = None,
    config_dir: Annotated[
        Path | None, typer.Option(help="Folder of configurations; --config-name is one in it.", file_okay=False)
    ] = None,
    config_name: Annotated[
        str | None, typer.Option(help="Name of the configuration in --config-dir, without .yaml.")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("-o", "--override", help="key=value, for a key of the configuration or a new one; repeatable."),
    ] = None,
    fail_on: FailOn = None,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Print everything that would be done, and do nothing.")
    ] = False,
) -> None:
    """Run tasks against a model server, through a sidecar that is started for them."""
    with failing():
        thresholds = Thresholds.read(fail_on or ())
        document = compose(Source(config_dir, config_name, config), override or ())
        refuse_withheld(document)
        _endpoint_flags(document, {"url": url, "model_id": model_id, "api_key_name": api_key_name, "type": type_})
        wanted = Wanted(task or (), _params(limit_samples, parallelism))
        run_id = new_id()
        short = config is None and config_name is None and not override and len(wanted.tasks) == 1
        if short:
            folder = output or new_folder(wanted.tasks[0])
        else:  # several runs may share the folder that the configuration names
            folder = (output or output_dir(document)) / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{run_id}"
        plan = make_plan(document, wanted, folder, flat=short)
        if dry_run:
            typer.echo(describe(document, plan))
            return
        check_plan(plan)
        with Runs() as runs:
            carry(runs, begin(runs, run_id, plan, folder, by="run"), thresholds)


def _endpoint_flags(document: dict[str, Any], given: Mapping[str, str | None]) -> None:
    flags = {name: value for name, value in given.items() if value is not None}
    if flags:
        target = document["target"] = dict(document.get("target") or {})
        target["api_endpoint"] = {**(target.get("api_endpoint") or {}), **flags}


def _params(limit_samples: str | None, parallelism: int | None) -> dict[str, Any]:
    given = {
        "config.params.limit_samples": None if limit_samples is None else _number(limit_samples),
        "config.params.parallelism": parallelism,
    }
    return {name: value for name, value in given.items() if value is not None}


def _number(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ConfigurationError(
            f"limit_samples {text!r} is neither a number of samples nor a share like 0.1"
        ) from None
