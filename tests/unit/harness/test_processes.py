import asyncio
import json
import os
import stat

import pytest

from harness.errors import RunError
from harness.processes import PROCESSES_FILE, Process, Processes
from harness.records import Tally


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def worked(folder, clock, *answers, run="r1", number=0):
    """A process that is killed after its last answer: its block is never left."""
    processes = Processes(folder, run, clock=clock).__enter__()
    clock.now += 1
    processes.begin(number)
    for done, seconds in enumerate(answers, 1):
        clock.now += seconds
        processes.progress(Tally(9, done))
    os.close(processes._descriptor)
    return processes.all


def test_a_killed_process_counts_to_where_it_was_last_seen(tmp_path):
    clock = Clock(100.0)
    worked(tmp_path, clock, 2, 3)
    clock.now = 5000.0
    first, second = worked(tmp_path, clock, 4, number=1)
    assert (first.started, first.seen, first.seconds) == (100, 106, 6)
    assert (first.asked, first.answered) == (101, 106)
    assert (second.started, second.seconds, second.number) == (5000, 5, 1)
    assert 0 < second.peak_memory_bytes <= second.peak_tree_memory_bytes
    assert [each.asking(103.0, 5004.0) for each in (first, second)] == [3, 3]


def test_what_another_process_had_answered_is_no_answer_of_this_one(tmp_path):
    processes = Processes(tmp_path, "r1", clock=Clock(1.0))
    with processes:
        processes.progress(Tally(9, 5, resumed=5))
        assert processes.all[0].answered is None
        assert processes.all[0].asking(0.0, 9.0) == 0
        processes.progress(Tally(9, 6, resumed=5))
        processes.progress(Tally(9, 6, resumed=5))
    assert processes.all[0].answered == 1.0


def test_the_file_is_private_and_another_run_begins_it_anew(tmp_path):
    worked(tmp_path, Clock(1.0), 1)
    path = tmp_path / PROCESSES_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(worked(tmp_path, Clock(2.0), 1, run="r2")) == 1
    [line] = path.read_text().splitlines()
    assert json.loads(line)["run"] == "r2"


@pytest.mark.parametrize("cut", [0, 5, 511])
def test_a_line_that_was_cut_off_does_not_count(tmp_path, cut):
    worked(tmp_path, Clock(1.0), 1)
    path = tmp_path / PROCESSES_FILE
    path.write_bytes(path.read_bytes()[:cut])
    assert len(worked(tmp_path, Clock(2.0), 1)) == 1


async def test_it_is_seen_while_no_answer_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.processes._EVERY_S", 0.0)
    beaten = asyncio.Event()
    with Processes(tmp_path, "r1") as processes:
        monkeypatch.setattr(processes, "beat", beaten.set)
        async with processes.beating():
            await beaten.wait()
    processes.remove()
    assert not (tmp_path / PROCESSES_FILE).exists()


def test_a_clock_that_was_put_back_gives_no_negative_times():
    process = Process("r1", started=10.0, seen=5.0, asked=9.0, answered=4.0)
    assert (process.seconds, process.asking(0.0, 99.0)) == (0, 0)


def test_a_folder_that_another_run_writes_into_is_refused_and_left_as_it_is(tmp_path):
    with Processes(tmp_path, "r1"):
        before = (tmp_path / PROCESSES_FILE).read_bytes()
        with pytest.raises(RunError, match=r"another run is writing into .*--output-dir"), Processes(tmp_path, "r2"):
            pass
        assert (tmp_path / PROCESSES_FILE).read_bytes() == before
    with Processes(tmp_path, "r2") as processes:
        assert len(processes.all) == 1
