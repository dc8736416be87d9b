"""The command `evalside` in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.contract.sidecar import CHAT, chat

ROOT = Path(__file__).parents[2]
PATIENCE = 50.0
"""Seconds for what takes one or two on a quiet machine. Nothing is shown by how long it takes."""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVALSIDE_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxy.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


class Serving:
    """`evalside serve` on an inherited socket: bound before it starts, so that there is nothing to wait for."""

    def __init__(self, folder: Path, upstream: str | None, *arguments: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        descriptor = self.listener.fileno()
        behind = ["-u", upstream] if upstream is not None else []
        command = [sys.executable, "-m", "proxy.cli", "serve", *behind, "--fd", str(descriptor), *arguments]
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(TMPDIR=str(self.temporary)),
            pass_fds=[descriptor],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.listener.close()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def ask(self, **fields: Any) -> str:
        request = urllib.request.Request(self.url + CHAT, json.dumps(chat(**fields)).encode())
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            answer.read()
            return str(answer.headers["x-evalside-cache"])

    def text(self, run: str, **fields: Any) -> str:
        request = urllib.request.Request(self.url + run + CHAT, json.dumps(chat(**fields)).encode())
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        errors = self.process.communicate(timeout=PATIENCE)[1]
        return self.process.returncode, errors
