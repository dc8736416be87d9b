"""`evalside run`: a task, an endpoint, and what came of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from harness.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget
from harness.errors import ConfigurationError, HarnessError, explain
from harness.evaluate import Finished, Job, prepare, run_job
from harness.launcher.display import progress, summary
from harness.process import termination_unwinds
from harness.runner import Tally
from harness.tasks import TASKS

# Ours are typer.Exit codes: 0 all answered, 1 the run failed or has errors, 2 wrong usage, 130 Ctrl-C.
_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_TASKS_HELP = "; ".join(f"{name}: {task.description}" for name, task in TASKS.items())


def run(  # noqa: PLR0913 - one parameter for each option
    *,
    task: Annotated[str, typer.Option("-t", "--task", help=f"The task to run. There is: {_TASKS_HELP}.")],
    url: Annotated[str, typer.Option(help="The model server: its origin, …/v1 or a full endpoint URL.")],
    model_id: Annotated[str | None, typer.Option(help="Default: the only model the endpoint lists.")] = None,
    api_key_name: Annotated[str | None, typer.Option(help="NAME of the variable that holds the key.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Default: a new folder under ./evalside-results.", file_okay=False)
    ] = None,
    limit_samples: Annotated[
        str | None, typer.Option(help="A number of samples, or a share like 0.1.", metavar="N")
    ] = None,
    parallelism: Annotated[int | None, typer.Option(help="Requests in flight. Default: 4.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="chat or completions. Default: by the URL's end, else chat.")
    ] = None,
) -> None:
    """Run a task against a model server, through a sidecar that is started for it."""
    console, errors = Console(), Console(stderr=True)
    endpoint = {"url": url, "model_id": model_id, "api_key_name": api_key_name, "type": type_}
    params = {"limit_samples": limit_samples, "parallelism": parallelism}
    try:
        finished = _run(console, _job(task, output_dir, endpoint, params))
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except HarnessError as error:
        _say(errors, f"error: {error}")
        raise typer.Exit(_USAGE if isinstance(error, ConfigurationError) else _FAILED) from None
    console.print(summary(finished))
    if finished.tally.errors:
        first = next(record for record in finished.records if record.error is not None)
        _say(errors, f"error: {finished.tally.errors} samples got no answer; the first, {first.id}: {first.error}")
        raise typer.Exit(_FAILED)


def _job(task: str, output_dir: Path | None, endpoint: Mapping[str, object], params: Mapping[str, object]) -> Job:
    try:
        target = EvaluationTarget(api_endpoint=ApiEndpoint.model_validate(endpoint))
        limit = params["limit_samples"]
        number = _number(limit) if isinstance(limit, str) else None
        checked = ConfigParams.model_validate({**params, "limit_samples": number})
        return prepare(EvaluationConfig(type=task, output_dir=output_dir, params=checked), target)
    except ValidationError as error:
        raise ConfigurationError(explain(error)) from None


def _number(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ConfigurationError(
            f"limit_samples {text!r} is neither a number of samples nor a share like 0.1"
        ) from None


def _run(console: Console, job: Job) -> Finished:
    seen = Tally(total=0)
    try:
        with termination_unwinds(), progress(console, job.config.type) as show:

            def watch(tally: Tally) -> None:
                nonlocal seen
                seen = tally
                show(tally)

            return run_job(job, watch)
    except (KeyboardInterrupt, SystemExit):
        done = f"{seen.done} of {seen.total} samples were answered" if seen.total else "no sample was asked yet"
        _say(console, f"interrupted: {done}. The same command goes on: the cache answers what is done.")
        raise


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
