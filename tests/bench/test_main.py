import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.bench.__main__ import STOPPED

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed"),
]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_it_gets_what_was_measured_until_then(tmp_path, number):
    result = tmp_path / "bench.json"
    only = ["--only", "one connection", "--rounds", "100", "--seconds", "1", "--json", str(result)]
    command = [sys.executable, "-m", "tests.bench", *only]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "round 1 of 100" in line:
                os.kill(running.pid, number)
                break
        told, errors = running.communicate(timeout=120)
    assert running.returncode == STOPPED
    assert "stopped" in errors
    assert "default pipeline" in told
    rates = json.loads(result.read_text())["workloads"]["one connection"]["per_second"]
    assert {len(values) for values in rates.values()} <= {1, 2}
