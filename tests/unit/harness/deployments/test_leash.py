import os
import signal
import subprocess
import sys

import pytest

from tests.waiting import wait_for

PROGRAM = "import os,subprocess,sys,time; c=subprocess.Popen(['sleep','60']); print(os.getpid(), c.pid, flush=True); "


def alive(pid: int) -> bool:
    try:
        state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]  # noqa: PTH123, SIM115
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def leashed():
    started = []

    def start(*command):
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.deployments.leash", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
            stream.close()


@pytest.mark.parametrize("end", ["input", "signal"])
def test_the_program_and_its_workers_end_with_standard_input_or_a_signal(leashed, end):
    process = leashed(sys.executable, "-c", f"{PROGRAM} time.sleep(60)")
    pids = [int(word) for word in process.stdout.readline().split()]
    assert all(alive(pid) for pid in pids)
    if end == "input":
        process.stdin.close()
    else:
        os.kill(process.pid, signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_workers_do_not_outlive_a_program_that_ends(leashed):
    process = leashed(sys.executable, "-c", f"{PROGRAM} sys.exit(3)")
    pids = [int(word) for word in process.stdout.readline().split()]
    assert process.wait(20) == 3
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_program_that_is_not_there_is_named(leashed):
    process = leashed("no-such-model-server")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 127
    assert "cannot start 'no-such-model-server': No such file or directory; install it" in errors
