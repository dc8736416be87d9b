"""Runs a foreign harness to its end and reads what it left."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from harness.deployments import leash
from harness.errors import ConfigurationError, HarnessError
from harness.external.base import Ask, Call, Driver, Outcome, OutputError, check_options
from harness.external.environment import Environment, find_environment
from harness.redact import Redactor

LOG_FILE = "harness.log"
INSTALL_LOG = "harness-install.log"
_LEASH = (sys.executable, "-I", str(Path(leash.__file__).resolve()))
"""Ends a harness and its children when we end, by `kill -9` too."""
_GRACE_S = 15.0
"""More than the leash takes to end what it holds."""
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r(?=[^\n]))")
"""A whole line. Progress bars end theirs with a carriage return alone."""
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
        if text.strip():
            self.on_line(text.rstrip())

    def end(self) -> str:
        lines = self.path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(f"  | {line}" for line in lines) if lines else "  | (nothing)"


async def run_driver(
    driver: Driver,
    ask: Ask,
    logs: Path,
    *,
    redactor: Redactor | None = None,
    on_line: OnLine = lambda _: None,
    held: Sequence[int] = (),
) -> Outcome:
    """Runs the driver's commands in its environment; their output goes to `harness.log` (0600) in `logs`, line by line.

    What the environment needs is installed first, and the harness's folder is emptied: harnesses take what they find
    there for answers and scores of their own. The harness and all its children end with a cancelled run, and with this
    process however that ends; until then they hold the descriptors `held`. Raises ConfigurationError, StartError,
    HarnessFailed, OutputError.
    """
    check_options(driver, ask.options)
    calls = _completed(driver.calls(ask), ask)
    await asyncio.to_thread(_empty, ask.folder)
    environment = await asyncio.to_thread(find_environment, driver, ask, logs / INSTALL_LOG)
    path = logs / LOG_FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        place = _Place(path, file, redactor or Redactor(), on_line)
        for call in calls:
            argv, env = environment.command(call, ask.folder)
            code = await _run([*_LEASH, *argv], env, call.cwd or ask.folder, place, held)
            if code:
                other = await asyncio.to_thread(_other_version, environment, driver)
                raise HarnessFailed(
                    f"{driver.name} ended with exit code {code}{other}\nThe end of its log, {path}:\n{place.end()}"
                )
    try:
        return await asyncio.to_thread(driver.outcome, ask)
    except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:
        other = await asyncio.to_thread(_other_version, environment, driver)
        raise OutputError(
            f"{driver.name} left results in a form that is not known ({type(error).__name__}: {error}){other}; its "
            f"files are in {ask.folder}, and it is tested as {' '.join(driver.requirements) or 'your command'}"
        ) from error


def _other_version(environment: Environment, driver: Driver) -> str:
    """What to add to an error where the harness is not of the version that its driver is made for."""
    version = environment.facts(driver).get("version")
    wanted = next(iter(driver.requirements), "")
    if version is None or wanted.endswith(f"=={version}"):
        return ""
    return f". It is version {version}, and its driver is made for {wanted}: install that, or name no environment"


def _completed(calls: Sequence[Call], ask: Ask) -> list[Call]:
    """The calls with the user's variables, and the first one with the user's arguments."""
    variables, further = ask.options.get("env") or {}, ask.options.get("args") or ()
    calls = [replace(call, env={**call.env, **variables}) for call in calls]
    return [replace(calls[0], argv=(*calls[0].argv, *further)), *calls[1:]]


def _empty(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise ConfigurationError(f"cannot empty {folder}, where the harness works: {error.strerror}") from error


async def _run(argv: list[str], env: dict[str, str], cwd: Path, place: _Place, held: Sequence[int]) -> int:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,  # empty; it ends with us, and the leash ends the harness then
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches only us, and we end it with its children
        pass_fds=held,
    )
    try:
        assert process.stdout is not None
        rest = b""
        while chunk := await process.stdout.read(_CHUNK):
            rest += chunk
            end = 0
            for line in _LINE.finditer(rest):
                place.write(line.group())
                end = line.end()
            rest = rest[end:]
        if rest:
            place.write(rest)
        return await process.wait()
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End what is left of a harness: its leash ends it, and the children that it may have left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
