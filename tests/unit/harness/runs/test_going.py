from functools import partial

import pytest

from harness.records import Tally
from harness.runs.database import JobRow, RunRow, Runs
from harness.runs.going import Going


@pytest.fixture
def runs(tmp_path):
    with Runs(tmp_path) as opened:
        jobs = [JobRow("r", name, f"r.{name}", "out") for name in ("one", "two")]
        opened.add(RunRow("r", 1.0, "pending", "run", "out", "{}"), jobs)
        yield opened


def test_progress_is_kept_at_the_edges_and_once_a_second_between(runs):
    now = [100.0]
    with Going(runs, "r", clock=lambda: now[0]) as going:
        assert runs.find("r").state == "running"
        for done in range(5):
            going.progress("one", Tally(total=6, done=done))
        assert runs.jobs(runs.find("r"))[0].done == 0
        now[0] += 1.0
        going.progress("one", Tally(total=6, done=5))
        assert runs.jobs(runs.find("r"))[0].done == 5
        going.progress("one", Tally(total=6, done=6, hits=2, errors=1, seconds=3.0))
        going.task_ended("one", "failed", {"message": "no"})
        going.end("failed")
    one, two = runs.jobs(runs.find("r"))
    assert (one.total, one.done, one.hits, one.errors, one.seconds) == (6, 6, 2, 1, 3.0)
    assert (one.state, one.message, two.state) == ("failed", "no", "failed")
    log = runs.log_path("r").read_text()
    assert "one: 6 of 6, 2 cache hits, 1 errors" in log
    assert "one: failed: no" in log
    assert log.splitlines()[-1].endswith("run r: failed")


@pytest.mark.parametrize(
    ("error", "state"), [(KeyboardInterrupt, "interrupted"), (SystemExit, "killed"), (ValueError, "failed")]
)
def test_a_run_that_is_broken_off_says_how(runs, error, state):
    runs.change_job("r", "one", state="success")
    with pytest.raises(error), Going(runs, "r"):
        raise error
    run = runs.find("r")
    assert run.state == state
    assert [job.state for job in runs.jobs(run)] == ["success", state]


def test_a_run_that_is_broken_off_keeps_how_far_it_was(runs):
    def tallies():
        yield from (Tally(total=6, done=done) for done in range(4))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Going(runs, "r", clock=lambda: 100.0) as going:
        list(map(partial(going.progress, "one"), tallies()))
    one, two = runs.jobs(runs.find("r"))
    assert (one.state, one.done, two.done) == ("interrupted", 3, 0)
    assert "one: 3 of 6" in runs.log_path("r").read_text()
