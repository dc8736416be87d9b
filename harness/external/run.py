"""Runs a foreign harness to its end and reads what it left."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError
from harness.external.base import Ask, Driver, Outcome, check_options
from harness.external.environment import find_environment
from harness.redact import Redactor

LOG_FILE = "harness.log"
INSTALL_LOG = "harness-install.log"
_GRACE_S = 10.0
_TAIL_LINES = 20
_CHUNK = 65536

OnLine = Callable[[str], None]


class HarnessFailed(HarnessError):
    """A foreign harness ended with an error. The message has the end of its log."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the output of a harness goes, and who sees it."""

    path: Path
    file: BinaryIO
    redactor: Redactor
    on_line: OnLine

    def write(self, line: bytes) -> None:
        text = self.redactor.text(line.decode(errors="replace"))
        self.file.write(text.encode())
        self.on_line(text.rstrip())

    def end(self) -> str:
        lines = self.path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(f"  | {line}" for line in lines) if lines else "  | (nothing)"


async def run_driver(
    driver: Driver, ask: Ask, logs: Path, *, redactor: Redactor | None = None, on_line: OnLine = lambda _: None
) -> Outcome:
    """Runs the driver's commands in its environment; their output goes to `harness.log` (0600) in `logs`, line by line.

    What the environment needs is installed first. A cancelled run ends the harness and all its children. Raises
    ConfigurationError, StartError, HarnessFailed, OutputError.
    """
    check_options(driver, ask.options)
    calls = driver.calls(ask)
    environment = await asyncio.to_thread(find_environment, driver, ask, logs / INSTALL_LOG)
    path = logs / LOG_FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        place = _Place(path, file, redactor or Redactor(), on_line)
        for number, call in enumerate(calls):
            argv, env = environment.command(call, ask.folder)
            further = ask.options.get("args") or () if number == 0 else ()
            env = {**env, **(ask.options.get("env") or {})}
            code = await _run([*argv, *further], env, call.cwd or ask.folder, place)
            if code:
                raise HarnessFailed(
                    f"{driver.name} ended with exit code {code}\nThe end of its log, {path}:\n{place.end()}"
                )
    return await asyncio.to_thread(driver.outcome, ask)


async def _run(argv: list[str], env: dict[str, str], cwd: Path, place: _Place) -> int:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches only us, and we end it with its children
    )
    try:
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                place.write(line + b"\n")
        if rest:
            place.write(rest)
        return await process.wait()
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End what is left of a harness: it, and the children that it may have left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
