import io

import pytest
from rich.console import Console

from harness.api import Score, ScoreStats
from harness.launcher.display import progress, score_text
from harness.records import Tally


def lines(total: int) -> list[str]:
    written = io.StringIO()
    console = Console(file=written, width=40)
    with progress(console) as show:
        for done in range(total + 1):
            show("smoke", Tally(total=total, done=done, hits=done, errors=0, seconds=done / 4))
    return written.getvalue().splitlines()


def test_plain_lines_say_everything_in_one_line_each():
    assert lines(4)[-2:] == [
        "smoke 3/4, 4.0/s, 3 cache hits, 0 errors, ETA 0 s",
        "smoke 4/4, 4.0/s, 4 cache hits, 0 errors, ETA 0 s",
    ]


@pytest.mark.parametrize("total", [1, 10, 48, 1000])
def test_plain_lines_are_few_and_the_last_one_is_complete(total):
    shown = lines(total)
    assert len(shown) <= 13
    assert shown[-1].startswith(f"smoke {total}/{total}, ")


def test_a_terminal_gets_a_bar():
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    with progress(console) as show:
        show("smoke", Tally(total=4))
        show("smoke", Tally(total=4, done=2, hits=1, errors=1, seconds=1.0))
    output = written.getvalue()
    assert "2/4" in output
    assert "2.0/s, 1 cache hits, 1 errors" in output


def test_a_score_without_a_standard_error_stands_alone():
    assert score_text(Score(value=1.0)) == "1.000"
    assert score_text(Score(value=0.5, stats=ScoreStats(stderr=0.1))) == "0.500 ± 0.100"
