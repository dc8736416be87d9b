"""What a process started has to end with it, also when it had no chance to stop it."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from proxy.testing import ModelServer
from tests.waiting import wait_for

pytestmark = pytest.mark.fault

PARENT = """
import sys
from pathlib import Path
from harness.api import ApiEndpoint
from harness.proxy_process import Sidecar

folder = Path(sys.argv[2])
with Sidecar(ApiEndpoint(url=sys.argv[1]), log_path=folder / "log", store=folder / "x.db") as sidecar:
    print(sidecar.url, flush=True)
    sys.stdin.read()
"""


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/live", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_the_sidecar_of_a_killed_run_ends(tmp_path):
    with (
        ModelServer() as server,
        subprocess.Popen(
            [sys.executable, "-c", PARENT, server.url, str(tmp_path)],
            cwd=Path.cwd(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as parent,
    ):
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert answers(url)
        parent.kill()
        parent.wait()
        wait_for(lambda: not answers(url))
