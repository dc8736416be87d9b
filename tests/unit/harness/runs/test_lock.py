import os
import stat
import subprocess
import sys

import pytest

from harness.errors import RunError
from harness.runs.lock import RunLock, goes_on, is_held, owner

HOLDER = """
import os, sys
from pathlib import Path
from harness.runs.lock import RunLock
with RunLock(Path(sys.argv[1])) as lock:
    if len(sys.argv) > 2:
        child = os.fork()
        if child == 0:
            os.set_inheritable(lock.descriptor, True)
            os.execvp("sleep", ["sleep", "60"])
        print(child, flush=True)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "r1.lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock, or leaves it to its child."""
    started = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_is_held_inside_the_block_alone(path):
    assert not is_held(path)
    assert owner(path) is None
    with RunLock(path):
        assert goes_on(path)
        assert owner(path) == os.getpid()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not is_held(path)
    assert not goes_on(path)


def test_another_process_is_named(path, holder):
    process, _ = holder()
    with pytest.raises(RunError, match=rf"run 'r1' goes on in process {process.pid}; wait for it, or `evalside kill`"):
        RunLock(path).__enter__()
    process.communicate("")
    with RunLock(path):
        assert owner(path) == os.getpid()


def test_what_a_killed_run_left_is_waited_for(path, holder):
    process, child = holder("leave")
    process.stdout.readline()
    process.kill()
    process.wait()
    assert is_held(path)
    assert not goes_on(path)
    with pytest.raises(RunError, match="what is left of run 'r1' does not end"):
        RunLock(path, patience_s=0.1).__enter__()
    os.kill(int(child), 9)
    with RunLock(path):
        assert goes_on(path)
