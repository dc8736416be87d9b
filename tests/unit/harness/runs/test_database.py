import stat

import pytest

from harness.errors import UnknownRun
from harness.runs.database import JobRow, RunRow, Runs
from harness.runs.lock import RunLock


@pytest.fixture
def runs(tmp_path):
    with Runs(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def add(runs):
    def make(run, at=1.0, state="success"):
        runs.add(RunRow(run, at, state, "run", "out", "{}"), [JobRow(run, "smoke", f"{run}.smoke", "out/smoke", state)])

    return make


def test_a_run_is_found_by_its_beginning(runs, add):
    add("abc123")
    add("abd456")
    assert runs.find("abc").id == "abc123"
    assert runs.find("abd456").id == "abd456"


def test_a_whole_id_wins_over_longer_ones(runs, add):
    add("ab")
    add("abc")
    assert runs.find("ab").id == "ab"


@pytest.mark.parametrize("wanted", ["", "x", "%", "a_c"])
def test_an_unknown_one_is_named(runs, add, wanted):
    add("abc")
    with pytest.raises(UnknownRun, match=f"there is no run '{wanted}' in .*; `evalside ls runs` lists them"):
        runs.find(wanted)


def test_an_ambiguous_beginning_lists_the_choices(runs, add):
    add("abc")
    add("abd", at=2.0)
    with pytest.raises(UnknownRun, match="'ab' is the beginning of 2 runs; write more of one of: abc, abd"):
        runs.find("ab")


def test_the_newest_comes_first(runs, add):
    add("old", at=1.0)
    add("new", at=2.0)
    assert [run.id for run in runs.all()] == ["new", "old"]
    assert [run.id for run in runs.all(limit=1)] == ["new"]
    assert runs.has("old")
    assert not runs.has("ol")


def test_a_run_whose_process_is_gone_is_interrupted(runs, add):
    add("gone", state="running")
    assert runs.find("gone").state == "interrupted"
    assert [job.state for job in runs.jobs(runs.find("gone"))] == ["interrupted"]
    with RunLock(runs.lock_path("gone")):
        assert runs.find("gone").state == "running"


def test_changes_are_kept_with_the_time_of_the_end(runs, add, tmp_path):
    add("r", state="running")
    runs.change("r", state="failed")
    runs.change_job("r", "smoke", done=3, total=5, state="failed")
    with Runs(tmp_path / "state") as again:
        run = again.find("r")
        assert (run.state, run.ended_at is not None) == ("failed", True)
        [job] = again.jobs(run)
    assert (job.done, job.total, job.state) == (3, 5, "failed")
    runs.change("r", state="running")
    assert runs.find("r").ended_at is None


def test_the_file_is_private(runs, tmp_path):
    assert stat.S_IMODE((tmp_path / "state" / "runs.db").stat().st_mode) == 0o600
