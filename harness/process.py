"""A child process that is waited for, logged to a private file, and always stopped."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import httpx

from harness.errors import StartError
from harness.redact import Redactor

_POLL_S = 0.1
_TAIL_LINES = 20


@dataclass(frozen=True)
class Command:
    """What to start: a name for messages, the arguments, the environment (None: ours), inherited descriptors.

    Errors quote the end of its log, through `redactor`.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    pass_fds: Sequence[int] = ()
    redactor: Redactor = field(default_factory=Redactor)


class ChildProcess:
    """Runs a command while the `with` block is open. Its output goes to `log_path` (0600), behind what is there already
    if it `appends`.

    Leaving the block sends SIGTERM, and SIGKILL to what is left of it after `grace_s` seconds. Its standard input stays
    empty, and ends with this process however that ends: a child that watches it does not outlive a `kill -9`.
    """

    def __init__(self, command: Command, log_path: Path, *, grace_s: float = 10.0, appends: bool = False) -> None:
        self.log_path = log_path
        self._appends = appends
        self._log_start = 0
        self._command = command
        self._grace_s = grace_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        how = os.O_APPEND if self._appends else os.O_TRUNC
        descriptor = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | how, 0o600)
        self._log_start = os.fstat(descriptor).st_size
        try:
            # A session of its own: Ctrl-C reaches only us, and we stop the children in order.
            self._process = subprocess.Popen(  # noqa: S603 - the arguments are ours, no shell
                self._command.argv,
                env=self._command.env,
                pass_fds=self._command.pass_fds,
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"cannot start {self._command.name} ({self._command.argv[0]}): {error}") from error
        finally:
            os.close(descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def wait_ready(self, url: str | Sequence[str], timeout_s: float) -> None:
        """Returns once GET `url` answers 200, or one of several does.

        Raises StartError with the end of the log if the process dies first or `timeout_s` seconds pass.
        """
        deadline = time.monotonic() + timeout_s
        urls = [url] if isinstance(url, str) else list(url)
        with httpx.Client(trust_env=False, timeout=2.0) as client:
            while not any(self._answers(client, each) for each in urls):
                self.check_alive()
                if time.monotonic() > deadline:
                    raise StartError(
                        f"{self._command.name} did not answer at {' or '.join(urls)} in {timeout_s:g} s"
                        f"{self._log_end()}"
                    )
                time.sleep(_POLL_S)

    def check_alive(self, what: str = "stopped at start") -> None:
        """Raises StartError, which says `what` it did, with the end of the log if the process is gone."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise StartError(f"{self._command.name} {what} with exit code {code}{self._log_end()}", code)

    def stop(self) -> None:
        """Ends the process if it runs; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._kill(process)
        except BaseException:  # a second Ctrl-C during the wait must not leave it running
            self._kill(process)
            raise
        finally:
            assert process.stdin is not None
            process.stdin.close()

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the workers it may have
        process.wait()

    @staticmethod
    def _answers(client: httpx.Client, url: str) -> bool:
        try:
            return client.get(url).status_code == 200
        except httpx.TransportError:
            return False

    def _log_end(self) -> str:
        written = self.log_path.read_bytes()[self._log_start :]  # what an earlier process left there is not of this one
        lines = written.decode(errors="replace").splitlines()[-_TAIL_LINES:]
        shown = "\n".join(f"  | {line}" for line in lines) if lines else "  | (nothing)"
        return f"\nThe end of its log, {self.log_path}:\n{self._command.redactor.text(shown)}"


@contextlib.contextmanager
def termination_unwinds() -> Iterator[None]:
    """Inside the block, SIGTERM and SIGHUP unwind the stack like Ctrl-C does, so that children are stopped.

    Only in the main thread, which is where Python delivers signals. The exit status is 128 + the signal's number.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
