"""`evalside serve` in a process of its own, to be killed and started again on the same port."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]


class Killable:
    """A sidecar in front of the server at `url` while the block is open; its database is `database`.

    The socket stays open while nothing serves it: who connects meanwhile waits, and no other process takes the port.
    """

    def __init__(self, folder: Path, url: str, *, workers: int = 1, cwd: Path = ROOT, **settings: Any) -> None:
        self._cwd = cwd
        self.database = folder / "evalside.db"
        self.log = folder / "sidecar.log"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = folder / "proxy.yaml"
        upstream = {"url": url, **settings.pop("upstream", {})}
        config.write_text(yaml.safe_dump({"upstream": upstream, "store": f"sqlite:///{self.database}", **settings}))
        self.arguments = ["serve", "--config", str(config), "--fd", str(self.descriptor), "--workers", str(workers)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def descriptor(self) -> int:
        """Of the listening socket, for processes that inherit it."""
        return self._listener.fileno()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            self._listener.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._listener.close()

    def start(self) -> None:
        """Serve; returns when it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "proxy.cli", *self.arguments],
                cwd=self._cwd,
                env={name: value for name, value in os.environ.items() if not name.startswith("EVALSIDE_")}
                | {"PYTHONPATH": str(ROOT)},
                pass_fds=[self.descriptor],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._is_live, 60)

    def kill(self) -> None:
        """End it as the machine's own end would, workers included."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        """Ask it to end, and return when it has."""
        process, self._process = self._process, None
        assert process is not None
        process.terminate()
        process.wait(60)

    def _is_live(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.ask("/-/live", timeout=5) is not None
        except TimeoutError:  # it may take that long to start
            return False

    def ask(self, path: str, body: Any = None, timeout: float = 60, method: str | None = None) -> Any:
        """Return the JSON of a GET, or of a POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def new_pass(self, run: str) -> None:
        """Begin the run's next pass."""
        self.ask(f"/-/runs/{run}", method="POST")
