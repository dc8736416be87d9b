"""Runs a program that ends when standard input does: whoever started it is gone, by `kill -9` too.

A command: `python -m harness.deployments.leash PROGRAM ARGUMENT…`. Its exit code is the program's.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

_GRACE_S = 10.0


def main(argv: Sequence[str]) -> int:
    """Runs the program until it ends, SIGTERM or SIGINT comes, or standard input ends."""
    # A session of its own: the program may have workers, and all of them go.
    try:
        process = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - the user's
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]!r}: {error.strerror}; install it, or write its path\n")
        return 127
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _stop(process))
    threading.Thread(target=_watch, args=[process], name="parent watch", daemon=True).start()
    code = process.wait()
    _signal(process, signal.SIGKILL)  # workers that outlive their program
    return code if code >= 0 else 128 - code


def _watch(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):
        pass
    _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    timer = threading.Timer(_GRACE_S, _signal, [process, signal.SIGKILL])
    timer.daemon = True
    timer.start()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
