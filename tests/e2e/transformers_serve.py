"""`transformers serve` with the weights of the demo, in an environment of its own: a strict server with quirks."""

import os
import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from harness.deployments.llamacpp import bundled_weights
from harness.errors import StartError
from harness.process import ChildProcess, Command
from harness.service import Service

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-transformers"
MODEL = VENV / "smollm2-hf"
"""What is served, and the id it is served under; made from the GGUF file on first use."""
INSTALLED = (VENV / "bin" / "transformers").exists()
HOW_TO_INSTALL = "not installed: `make transformers` installs it"
_ADDRESS = re.compile(r"Uvicorn running on (http://\S+)")


class TransformersServe(Service):
    """`transformers serve` on a loopback port while the `with` block is open."""

    def __init__(self, log_path: Path, *, start_timeout_s: float = 600.0) -> None:
        super().__init__()
        self._log_path = log_path
        self._start_timeout_s = start_timeout_s

    def _start(self, stack: ExitStack) -> str:
        # One thread: beside other work, two wait for each other.
        env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        if not (MODEL / "config.json").exists():
            script = Path(__file__).with_name("gguf_to_hf.py")
            convert = [VENV / "bin" / "python", script, bundled_weights(), MODEL]
            subprocess.run(convert, env=env, check=True, capture_output=True, timeout=self._start_timeout_s)
        argv = [str(VENV / "bin" / "transformers"), "serve", str(MODEL), "--host", "127.0.0.1", "--port", "0"]
        command = Command("transformers serve", [*argv, "--device", "cpu"], env)
        process = stack.enter_context(ChildProcess(command, self._log_path))
        deadline = time.monotonic() + self._start_timeout_s
        url = self._address(process, deadline)
        process.wait_ready(f"{url}/health", deadline - time.monotonic())
        return url

    @staticmethod
    def _address(process: ChildProcess, deadline: float) -> str:
        while time.monotonic() < deadline:
            found = _ADDRESS.search(process.log_path.read_text(errors="replace"))
            if found:
                return found[1]
            process.check_alive()
            time.sleep(0.1)
        raise StartError(f"transformers serve did not load its model in time; see {process.log_path}")
