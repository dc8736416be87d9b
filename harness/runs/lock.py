"""A file that is locked while a run goes on, whatever happens to its process."""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import RunError

_POLL_S = 0.05


class RunLock:
    """Holds `path` while the `with` block is open; `descriptor` is for processes that belong to the run.

    The lock lasts as long as one of those holds the descriptor, so that a run which was killed is over only when its
    sidecar is. Raises RunError if the run goes on in another process, or if what is left of it does not end within
    `patience_s` seconds.
    """

    def __init__(self, path: Path, *, patience_s: float = 15.0) -> None:
        self._path = path
        self._patience_s = patience_s
        self.descriptor = -1

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._wait()
        except BaseException:
            os.close(self.descriptor)
            raise
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def _wait(self) -> None:
        deadline = time.monotonic() + self._patience_s
        while not _taken(self.descriptor):
            pid = owner(self._path)
            if pid is not None and _lives(pid):
                raise RunError(f"run {self._path.stem!r} goes on in process {pid}; wait for it, or `evalside kill` it")
            if time.monotonic() > deadline:
                raise RunError(
                    f"what is left of run {self._path.stem!r} does not end: something still holds {self._path}; "
                    "end its sidecar, then try again"
                )
            time.sleep(_POLL_S)


def goes_on(path: Path) -> bool:
    """Whether the process that runs a run is there. What it left when it was killed does not count."""
    pid = owner(path)
    return pid is not None and _lives(pid) and is_held(path)


def is_held(path: Path) -> bool:
    """Whether something belongs to a run still: its process, or a sidecar that outlives it for a moment."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _taken(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def owner(path: Path) -> int | None:
    """The process that took the lock last; it may be gone."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    return int(text) if text.isdigit() else None


def _taken(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return True
    return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
