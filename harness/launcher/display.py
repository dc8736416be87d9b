"""What a run shows: a progress bar for each task on a terminal, plain lines elsewhere, a table at the end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from harness.api import Score
from harness.job import Finished
from harness.launcher.tables import table
from harness.records import Tally
from harness.results import main_score

Watch = Callable[[str, Tally], None]
_LINES = 10
_REQUESTS = 50
"""Requests between two lines, where nobody knows how many there will be."""


@contextmanager
def progress(console: Console) -> Iterator[Watch]:
    """A callback that shows the progress of tasks, by name, on `console` while the block is open."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    rows: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as bar:

        def show(label: str, tally: Tally) -> None:
            if label not in rows:
                rows[label] = bar.add_task(label, total=None, facts="")
            bar.update(rows[label], total=tally.total or None, completed=tally.done, facts=_facts(tally))

        yield show


def score_text(score: Score) -> str:
    """`0.688 ± 0.068`: the value and its standard error."""
    stderr = score.stats.stderr
    return f"{score.value:.3f}" if stderr is None else f"{score.value:.3f} ± {stderr:.3f}"


def summary(finished: Mapping[str, Finished]) -> Table:
    """The table at the end of a run: a column for each task, by its name in the run."""
    made = table("", *finished)
    scores = [main_score(next(iter(each.result.tasks.values()))) for each in finished.values()]
    tallies = [each.tally for each in finished.values()]
    names = list(dict.fromkeys(name for name, _ in scores))
    for name in names:
        made.add_row(f"{name} (± stderr)", *(score_text(score) if found == name else "" for found, score in scores))
    made.add_row("samples", *(f"{tally.done}, {tally.errors} without an answer" for tally in tallies))
    made.add_row("cache hits", *(str(tally.hits) for tally in tallies))
    made.add_row("upstream calls", *(str(tally.upstream_calls) for tally in tallies))
    made.add_row("seconds", *(f"{tally.seconds:.1f}" for tally in tallies))
    return made


def _facts(tally: Tally) -> str:
    return f"{tally.rate:.1f}/s, {tally.hits} cache hits, {tally.errors} errors"


def _lines(console: Console) -> Watch:
    told: dict[str, int] = {}

    def show(label: str, tally: Tally) -> None:
        if not tally.total:  # of another harness: only it knows
            if tally.done >= told.get(label, 0) + _REQUESTS:
                told[label] = tally.done
                console.print(
                    f"{label} {tally.done} requests, {_facts(tally)}", highlight=False, markup=False, soft_wrap=True
                )
            return
        step = max(1, tally.total // _LINES)
        if tally.done and (tally.done % step == 0 or tally.done == tally.total):
            left = (tally.total - tally.done) / tally.rate if tally.rate else 0
            line = f"{label} {tally.done}/{tally.total}, {_facts(tally)}, ETA {left:.0f} s"
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    return show
