"""The console: one JSON object a line on stdout, rendered and written in batches by a thread of its own."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import orjson

from proxy.core.announce import Event
from proxy.core.redact import Redactor

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LONGEST = 10_000
"""Lines that wait for stdout; more are dropped."""
_INTERVAL = 0.05
"""Seconds between batches. Waking the thread for every line would cost a request more than the line does."""
_PATIENCE = 2.0
"""Seconds that the last lines have at shutdown."""


class _Renderer:
    """Renders a record as JSON: time, level, event, and the fields it carries."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._second = (-1, "")  # the last one, and how it is written

    def line(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without its end."""
        line: dict[str, Any] = {
            "time": self._time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if isinstance(record, Event):
            line.update(record.fields)
        else:
            line.update((name, value) for name, value in record.__dict__.items() if name not in _STANDARD)
        if record.exc_text:
            line["traceback"] = record.exc_text
        if not self._redactor.harmless(line):
            line = self._redactor.document(line)  # before the encoding, which would hide a secret behind its escapes
        return self._redactor.text(orjson.dumps(line, default=str).decode())

    def _time(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if self._second[0] != second:
            self._second = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second[1]}.{int(record.created % 1 * 1000):03d}Z"


class _Batches(logging.Handler):
    """Keeps records until the thread writes them; only tracebacks are rendered at once, while their frames live."""

    def __init__(self, renderer: _Renderer, stream: TextIO) -> None:
        super().__init__()
        self._renderer = renderer
        self._stream = stream
        self._waiting: deque[logging.LogRecord] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._armed = False  # the thread knows that something waits
        self._thread = threading.Thread(target=self._run, name="evalside-console", daemon=True)

    def createLock(self) -> None:  # noqa: N802 - the name logging gives it
        """Need none: a deque is safe to append to from any thread."""
        self.lock = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have the record written soon."""
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if len(self._waiting) >= _LONGEST:  # nobody reads stdout: the lines go, the answers do not wait
            return
        self._waiting.append(record)
        if not self._armed:
            self._armed = True
            self._wake.set()

    def stop(self) -> None:
        """Write what waits, in bounded time: a pipe that nobody reads must not hold up the shutdown."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._stopping.wait(_INTERVAL)
            self._wake.clear()
            self._armed = False  # before the deque is emptied: what comes now arms it anew
            self._write()
        self._write()

    def _write(self) -> None:
        lines = []
        while self._waiting:
            lines.append(self._rendered(self._waiting.popleft()))
        if lines:
            with suppress(OSError, ValueError):  # a reader that went away is no reason for a traceback
                self._stream.write("".join(lines))
                self._stream.flush()

    def _rendered(self, record: logging.LogRecord) -> str:
        try:
            return self._renderer.line(record) + "\n"
        except Exception:  # noqa: BLE001 - one that cannot be rendered must not cost the others
            self.handleError(record)
            return ""


@contextmanager
def console(level: str, redactor: Redactor) -> Iterator[None]:
    """Write what `evalside` loggers say to stdout for as long as the context lives."""
    handler = _Batches(_Renderer(redactor), sys.stdout)
    logger = logging.getLogger("evalside")
    before = logger.level, logger.propagate
    logger.setLevel(level.upper())
    logger.propagate = False
    logger.addHandler(handler)
    handler.start()
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
        handler.stop()
