"""The exchange log as lines of JSON: each request with what the client got."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from proxy.core.document import encode
from proxy.core.http import Headers
from proxy.core.redact import Redactor
from proxy.store.bundle.archive import replacing
from proxy.store.bundle.connection import snapshot
from proxy.store.bundle.entry import embedded
from proxy.store.codec import unpack, unpack_headers
from proxy.store.saved import Saved

_FACTS = (
    "id", "run", "pass", "started_at", "method", "path", "route", "status", "cache", "cache_key", "sample", "reason",
    "outcome", "error", "duration_ms", "upstream_ms",
)  # fmt: skip
_ROWS = 'SELECT * FROM exchanges WHERE (:run IS NULL OR run = :run) AND (:pass IS NULL OR "pass" = :pass) ORDER BY seq'


def export_log(db: Path, target: Path, *, run: str | None, number: int | None, saved: Saved, redactor: Redactor) -> int:
    """Write exchanges as lines of JSON, oldest first, and return how many.

    Args:
        db: the database, migrated; it may be in use.
        target: is replaced where it exists; for its owner alone.
        run: only this run's; None for all.
        number: only those of this pass.
        saved: how many of the requests and answers are in it; the other lines have their facts alone.
        redactor: takes out secrets that are known by now; those with telling names never were in the log.

    Raises:
        BundleError: the file cannot be written.
        StoreError: the database cannot be read.
    """
    count = 0
    with snapshot(db) as connection, replacing(target) as file:
        connection.row_factory = sqlite3.Row
        for row in connection.execute(_ROWS, {"run": run, "pass": number}):
            line = encode(_line(dict(row), request=saved.request(count), response=saved.response(count)))
            file.write(redactor.raw(line) + b"\n")
            count += 1
    return count


def _line(row: dict[str, Any], *, request: bool, response: bool) -> dict[str, Any]:
    line: dict[str, Any] = {name: row[name] for name in _FACTS}
    line["changes"] = [] if row["changes"] is None else embedded(unpack(row["changes"]))
    if request:
        line["request_headers"] = _headers(row["request_headers"])
        line["request"] = _body(row["request_body"])
        line["sent"] = _body(row["sent_body"])
    if response:
        line["response_headers"] = _headers(row["response_headers"])
        line["response"] = _body(row["response_body"])
    return line


def _headers(packed: bytes | None) -> list[list[str]] | None:
    fields: Headers | None = None if packed is None else unpack_headers(packed)
    return None if fields is None else [[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields]


def _body(packed: bytes | None) -> Any:
    return None if packed is None else embedded(unpack(packed))
