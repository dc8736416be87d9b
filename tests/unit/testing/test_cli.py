import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

SERVE = "from proxy.testing.cli import serve; serve(port={port}, model='tiny')"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_leaves_cleanly(number):
    with subprocess.Popen([sys.executable, "-c", SERVE.format(port=0)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(
            r"mock model server on (http://127\.0\.0\.1:\d+/v1) \(model tiny\); Ctrl-C stops it\n", line
        )
        assert found, line
        with urllib.request.urlopen(f"{found[1]}/models", timeout=5) as answer:
            assert json.load(answer)["data"][0]["id"] == "tiny"
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""


def test_a_taken_port_is_a_clear_message(server):
    command = [sys.executable, "-c", SERVE.format(port=server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot listen on 127.0.0.1:{server.port}: ")
    assert "choose another port" in done.stderr
