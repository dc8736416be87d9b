import io

import pytest

from tests.bench.progress import Progress, minutes


@pytest.fixture
def clock():
    return iter(range(0, 10_000, 30)).__next__  # half a minute goes by with each look


def test_a_round_tells_what_came_out_and_how_long_the_rest_takes(clock):
    out = io.StringIO()
    progress = Progress(100, out, clock)
    with progress.round("hits", "round 1 of 2", planned=25):
        progress.told("nginx", "10/s")
    assert "this should take about 1:40" in out.getvalue()
    assert "  hits, round 1 of 2: nginx 10/s;  [1:30 left]\n" in out.getvalue()  # 30 s went by for 25 planned ones


def test_a_round_that_breaks_off_ends_its_line(clock):
    out = io.StringIO()
    progress = Progress(100, out, clock)
    with pytest.raises(KeyboardInterrupt), progress.round("hits", "warm-up", planned=200):
        raise KeyboardInterrupt
    assert out.getvalue().endswith("[0:00 left]\n")


def test_minutes():
    assert minutes(59.6) == "1:00"
    assert minutes(3725) == "62:05"
