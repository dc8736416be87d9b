"""The demo: a real llama.cpp server, one sidecar, the smoke task twice. The second pass comes from the cache.

Also a command: `python -m harness.demo`. Exit status: 0 if every check held, 1 if not, 130 after Ctrl-C.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from harness.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget
from harness.demo_lm_eval import HOW_TO_GET, find_lm_eval, run_lm_eval, write_task
from harness.deployments.llamacpp import LlamaCpp
from harness.errors import HarnessError
from harness.job import Finished, Job, run_job
from harness.launcher.display import progress, score_text
from harness.process import termination_unwinds
from harness.results import main_score
from harness.sidecars import Sidecars

_COUNTERS = ("prompt_tokens_total", "tokens_predicted_total")  # llama.cpp's own: they move with any generation


def demo(
    output_dir: Annotated[Path, typer.Option(help="Gets a new folder for this demo.", file_okay=False)] = Path(
        "evalside-demo"
    ),
) -> None:
    """Run the smoke task twice against a real llama.cpp server; the second pass comes from the cache."""
    console = Console()
    try:
        with termination_unwinds():
            failures = _demo(console, output_dir / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S"))
    except KeyboardInterrupt:
        _say(console, "interrupted; everything the demo started is stopped")
        raise typer.Exit(130) from None
    except HarnessError as error:
        _say(console, f"error: {error}")
        raise typer.Exit(1) from None
    for failure in failures:
        _say(console, f"FAILED: {failure}")
    if failures:
        raise typer.Exit(1)
    _say(console, "All checks held. The server and the sidecar are stopped.")


@dataclass(frozen=True)
class Pass:
    """One pass: the run, and how far llama.cpp's own token counters moved during it, by name."""

    finished: Finished
    moved: dict[str, float]


@dataclass
class _Demo:
    console: Console
    folder: Path
    server: LlamaCpp
    sidecars: Sidecars
    target: EvaluationTarget
    failures: list[str] = field(default_factory=list)

    def sidecar_url(self) -> str:
        return self.sidecars.url(self.target.api_endpoint, self.target.proxy)

    def expect(self, held: bool, failure: str) -> None:
        if not held:
            self.failures.append(failure)


def _demo(console: Console, folder: Path) -> list[str]:
    started = time.perf_counter()
    folder.mkdir(parents=True)
    server = LlamaCpp(log_path=folder / "llama.cpp.log")
    _say(console, "Starting the real llama.cpp server with SmolLM2-135M-Instruct, and a sidecar beside it")
    with server:
        endpoint = ApiEndpoint(url=f"{server.url}/v1", model_id=server.options.alias)
        settings = {"store": f"sqlite:///{(folder / 'evalside.db').resolve()}"}
        target = EvaluationTarget(api_endpoint=endpoint, proxy=settings)
        with Sidecars(folder) as sidecars:
            state = _Demo(console, folder, server, sidecars, target)
            url, seconds = state.sidecar_url(), time.perf_counter() - started
            _say(console, f"llama.cpp at {server.url}, the sidecar at {url}, up in {seconds:.1f} s")
            _smoke_twice(state)
            _lm_eval_twice(state)
    _say(console, f"Files: {folder} (results.yml and samples.jsonl of each pass, evalside.db, logs)")
    return state.failures


def _smoke_twice(state: _Demo) -> None:
    first, second = _one_pass(state, "pass-1", None), _one_pass(state, "pass-2", {})
    state.console.print(side_by_side(first, second))
    faster = first.finished.tally.seconds / max(second.finished.tally.seconds, 1e-6)
    _say(state.console, f"The second pass was {faster:.0f} times faster.")
    state.failures += broken_promises(first, second)


def _one_pass(state: _Demo, name: str, opening: dict[str, str] | None) -> Pass:
    folder = state.folder / name
    folder.mkdir()
    config = EvaluationConfig(type="smoke", output_dir=folder, params=ConfigParams(parallelism=2))
    job = Job(name, "demo", config, state.target, folder, opening=opening)
    before = state.server.counters()
    with progress(state.console) as show:
        finished = asyncio.run(run_job(job, state.sidecars, on_progress=partial(show, name)))
    return Pass(finished, _moved(before, state.server.counters()))


def side_by_side(first: Pass, second: Pass) -> Table:
    """Both passes as a table."""
    passes = (first, second)
    tallies = [each.finished.tally for each in passes]
    table = Table("smoke (a smoke test, not a benchmark)", "first pass", "second pass", title="The same task twice")
    name, _ = main_score(first.finished.result.tasks["smoke"])
    scores = [score_text(main_score(each.finished.result.tasks["smoke"])[1]) for each in passes]
    table.add_row(f"{name} (± stderr)", *scores)
    table.add_row("samples", *(str(tally.done) for tally in tallies))
    table.add_row("errors", *(str(tally.errors) for tally in tallies))
    table.add_row("cache hits", *(str(tally.hits) for tally in tallies))
    table.add_row("upstream calls (by x-evalside-cache)", *(str(tally.upstream_calls) for tally in tallies))
    for counter in _COUNTERS:
        table.add_row(f"llama.cpp's own {counter}", *(f"+{each.moved[counter]:.0f}" for each in passes))
    table.add_row("seconds", *(f"{tally.seconds:.2f}" for tally in tallies))
    return table


def broken_promises(first: Pass, second: Pass) -> list[str]:
    """What two passes through one sidecar promise and did not keep, one sentence each."""
    one, two = first.finished, second.finished
    promises = {
        f"{one.tally.errors} and {two.tally.errors} samples got no answer": one.tally.errors + two.tally.errors == 0,
        f"the first pass had {one.tally.hits} cache hits in a new store": one.tally.hits == 0,
        "llama.cpp generated nothing in the first pass": all(moved > 0 for moved in first.moved.values()),
        f"only {two.tally.hits} of {two.tally.total} answers of the second pass were cache hits": two.tally.hits
        == two.tally.total,
        f"the second pass made {two.tally.upstream_calls} upstream calls": two.tally.upstream_calls == 0,
        f"llama.cpp's own counters moved in the second pass: {second.moved}": not any(second.moved.values()),
        "the scores of the two passes differ": one.result == two.result,
        "the generations of the two passes differ": [record.generation for record in one.records]
        == [record.generation for record in two.records],
    }
    return [failure for failure, held in promises.items() if not held]


def _lm_eval_twice(state: _Demo) -> None:
    executable = find_lm_eval()
    if executable is None:
        _say(state.console, f"lm-eval is not installed, so it is left out here. {HOW_TO_GET}.")
        return
    task_folder = state.folder / "lm-eval-task"
    write_task(task_folder)
    table = Table("unmodified lm-eval", "first run", "second run", title="The same questions, asked by lm-eval")
    scores, moves, seconds = [], [], []
    for number in (1, 2):
        _say(state.console, f"lm-eval, run {number} of 2 (it takes a while to start)")
        before, started = state.server.counters(), time.perf_counter()
        output = state.folder / f"lm-eval-{number}"
        scores.append(run_lm_eval(executable, state.sidecar_url(), state.server.options.alias, task_folder, output))
        seconds.append(time.perf_counter() - started)
        moves.append(_moved(before, state.server.counters()))
    table.add_row("exact match", *(f"{score:.3f}" for score in scores))
    for counter in _COUNTERS:
        table.add_row(f"llama.cpp's own {counter}", *(f"+{moved[counter]:.0f}" for moved in moves))
    table.add_row("seconds (mostly lm-eval's own start)", *(f"{each:.1f}" for each in seconds))
    state.console.print(table)
    state.expect(scores[0] == scores[1], f"lm-eval's scores differ: {scores[0]} and {scores[1]}")
    state.expect(all(moves[0].values()), "llama.cpp generated nothing in lm-eval's first run")
    state.expect(not any(moves[1].values()), f"llama.cpp's own counters moved in lm-eval's second run: {moves[1]}")


def _moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in _COUNTERS}


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(demo)
