"""What a run shows: a progress bar on a terminal, plain lines elsewhere, a table at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from harness.api import Score, TaskResult
from harness.evaluate import Finished
from harness.runner import OnProgress, Tally

_LINES = 10


@contextmanager
def progress(console: Console, label: str) -> Iterator[OnProgress]:
    """A callback that shows a run's progress on `console` while the block is open."""
    if not console.is_terminal:
        yield _lines(console, label)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        row = bar.add_task(label, total=None, facts="")
        yield lambda tally: bar.update(row, total=tally.total, completed=tally.done, facts=_facts(tally))


def score_text(score: Score) -> str:
    """`0.688 ± 0.068`: the value and its standard error."""
    stderr = score.stats.stderr
    return f"{score.value:.3f}" if stderr is None else f"{score.value:.3f} ± {stderr:.3f}"


def main_score(result: TaskResult) -> tuple[str, Score]:
    """The name and the score of a task's metric."""
    name = next(metric for metric in result.metrics if metric != "errors")
    return name, result.metrics[name].scores[name]


def summary(finished: Finished) -> Table:
    """The table at the end of a run."""
    tally = finished.tally
    table = Table(show_header=False, title_justify="left")
    for task, result in finished.result.tasks.items():
        name, score = main_score(result)
        table.add_row("task", task)
        table.add_row(f"{name} (± stderr)", score_text(score))
    table.add_row("samples", f"{tally.done}, {tally.errors} without an answer")
    table.add_row("cache hits", str(tally.hits))
    table.add_row("upstream calls", str(tally.upstream_calls))
    table.add_row("seconds", f"{tally.seconds:.1f}")
    table.add_row("results", str(finished.results_file))
    table.add_row("samples", str(finished.samples_file))
    return table


def _facts(tally: Tally) -> str:
    rate = tally.done / tally.seconds if tally.seconds else 0.0
    return f"{rate:.1f}/s, {tally.hits} cache hits, {tally.errors} errors"


def _lines(console: Console, label: str) -> OnProgress:
    def show(tally: Tally) -> None:
        step = max(1, tally.total // _LINES)
        if tally.done and (tally.done % step == 0 or tally.done == tally.total):
            left = tally.seconds / tally.done * (tally.total - tally.done)
            line = f"{label} {tally.done}/{tally.total}, {_facts(tally)}, ETA {left:.0f} s"
            console.print(line, highlight=False, soft_wrap=True)

    return show
