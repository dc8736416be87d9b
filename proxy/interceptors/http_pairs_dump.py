"""http_pairs_dump: the first exchanges and every failed one, as one JSON file."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt

from proxy.core.http import Exchange, Headers, Response
from proxy.core.pipeline import Interceptor, Layer, Next
from proxy.core.redact import Redactor
from proxy.core.stream import Outcome
from proxy.interceptors.answered import Answered
from proxy.interceptors.base import CannotStart, Config, Plugin, Services


class HttpPairsDumpConfig(Config):
    """Where to, and how many."""

    dump_path: Path = Field(description="the file; one of an earlier start is renamed, further workers number theirs")
    first_n: NonNegativeInt = Field(
        50, description="exchanges that are kept whatever their status; failures always are"
    )


class HttpPairsDump:
    """Hands every exchange that is kept to the file's thread."""

    def __init__(self, config: HttpPairsDumpConfig, redactor: Redactor, file: PairsFile) -> None:
        self._left = config.first_n
        self._redactor = redactor
        self._file = file

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        response = await call_next(exchange)
        kept = self._left > 0 or response.status != 200
        self._left -= kept and self._left > 0

        def dump(answer: Answered, outcome: Outcome) -> None:
            self._file.add(answer.status, self._pair(exchange, answer, outcome) if kept else None)

        response.tap(Answered(response, dump))
        return response

    def _pair(self, exchange: Exchange, answer: Answered, outcome: Outcome) -> dict[str, Any]:
        own = exchange.received_headers
        return {
            "request_id": exchange.id,
            "run": exchange.run,
            "request": {"headers": self._headers(own, own), "body": _shown(self._redactor.raw(exchange.received, own))},
            "response": {
                "status": answer.status,
                "headers": self._headers(answer.headers, own),
                "body": _shown(self._redactor.raw(answer.body, own)),
                "outcome": outcome.value,
                "latency_ms": round((time.perf_counter() - exchange.started) * 1000, 1),
            },
        }

    def _headers(self, headers: Headers, own: Headers) -> list[list[str]]:
        shown = self._redactor.headers(headers)
        return [[name.decode("latin-1"), self._redactor.raw(value, own).decode("latin-1")] for name, value in shown]


class PairsFile:
    """`{"pairs": […], "metrics": {status: count}}`, whole after every write and readable by its owner alone.

    Each pair is written once, over the end of the file, so that neither memory nor time grow with what is there.
    """

    def __init__(self, path: Path) -> None:
        self._file = _open(path)
        self._end = self._file.write('{"pairs": [')
        self._first = True
        self._closed = False
        self._metrics: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(1, "evalside-pairs")
        self._write(None)

    def add(self, status: int, pair: dict[str, Any] | None) -> None:
        """Count an exchange, and keep it where it is given. Never waits for the disk; nothing is kept after the end."""
        self._metrics[str(status)] += 1
        if pair is not None and not self._closed:
            self._thread.submit(self._write, pair)

    def close(self) -> None:
        """Write what is left."""
        self._closed = True
        self._thread.submit(self._write, None)
        self._thread.shutdown()
        self._file.close()

    def _write(self, pair: dict[str, Any] | None) -> None:
        self._file.seek(self._end)
        if pair is not None:
            self._end += self._file.write(("\n" if self._first else ",\n") + json.dumps(pair))  # ASCII: text is bytes
            self._first = False
        self._file.write('\n], "metrics": ' + json.dumps(dict(self._metrics)) + "}\n")
        self._file.truncate()
        self._file.flush()


def _open(path: Path) -> Any:
    """Open the file, or a numbered one beside it where another worker has that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if os.fstat(descriptor).st_size:
            name.rename(name.with_stem(f"{name.stem}.{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"))
            os.close(descriptor)
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fdopen(descriptor, "w", encoding="ascii")
    raise CannotStart(f"http_pairs_dump: there are a thousand files like {path} in use; name another 'dump_path'")


def _shown(body: bytes) -> Any:
    """Return JSON as what it is, anything else as text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


@asynccontextmanager
async def _build(config: HttpPairsDumpConfig, services: Services) -> AsyncIterator[Interceptor]:
    try:
        file = PairsFile(config.dump_path.expanduser())
    except OSError as error:
        raise CannotStart(
            f"http_pairs_dump: {config.dump_path} cannot be written ({error.strerror}); name another 'dump_path'"
        ) from None
    try:
        yield HttpPairsDump(config, services.redactor, file)
    finally:
        file.close()


PLUGIN = Plugin(HttpPairsDumpConfig, Layer.OBSERVE, _build, rank=40)
