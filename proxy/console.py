"""The console: one JSON object a line on stdout, written by a thread of its own."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue
from typing import Any, TextIO

import orjson

from proxy.core.redact import Redactor

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_LONGEST = 10_000
"""Lines that wait for stdout; more are dropped."""
_PATIENCE = 2.0
"""Seconds that the last lines have at shutdown."""


class _JsonLines(logging.Formatter):
    """Renders a record as JSON: time, level, event, and the fields it carries."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update((name, value) for name, value in record.__dict__.items() if name not in _STANDARD)
        if record.exc_text:
            line["traceback"] = record.exc_text
        line = self._redactor.document(line)  # before the encoding, which would hide a secret behind its escapes
        return self._redactor.text(orjson.dumps(line, default=str).decode())


class _Enqueue(QueueHandler):
    """Puts records on the queue as they are; only tracebacks are rendered at once, while their frames live."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except Full:  # nobody reads stdout: the lines go, the answers do not wait
            pass


class _Output(logging.StreamHandler[TextIO]):
    """Writes lines; a reader that went away is no reason for a traceback a line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name logging gives it
        if not isinstance(sys.exc_info()[1], OSError) and not self.stream.closed:
            super().handleError(record)


class _Listener(QueueListener):
    """Stops in bounded time: a pipe that nobody reads must not hold up the shutdown."""

    def stop(self) -> None:
        thread = self._thread
        if thread is None:
            return
        self._thread = None
        try:
            self.enqueue_sentinel()
        except Full:
            return
        thread.join(_PATIENCE)


@contextmanager
def console(level: str, redactor: Redactor) -> Iterator[None]:
    """Write what `evalside` loggers say to stdout for as long as the context lives."""
    queue: Queue[logging.LogRecord] = Queue(_LONGEST)
    output = _Output(sys.stdout)
    output.setFormatter(_JsonLines(redactor))
    listener = _Listener(queue, output)
    handler = _Enqueue(queue)
    logger = logging.getLogger("evalside")
    before = logger.level, logger.propagate
    logger.setLevel(level.upper())
    logger.propagate = False
    logger.addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
        listener.stop()
