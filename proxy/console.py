"""The console: one JSON object a line on stdout, written by a thread of its own."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any

import orjson

from proxy.core.redact import Redactor

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


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
        return self._redactor.text(orjson.dumps(line, default=str).decode())


class _Enqueue(QueueHandler):
    """Puts records on the queue as they are; only tracebacks are rendered at once, while their frames live."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        return record


@contextmanager
def console(level: str, redactor: Redactor) -> Iterator[None]:
    """Write what `evalside` loggers say to stdout for as long as the context lives."""
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(_JsonLines(redactor))
    listener = QueueListener(queue, output)
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
