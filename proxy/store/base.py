"""What the pipeline asks of a store. Implementations pass the contract suites of `proxy.testing`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

from proxy.core.http import Headers

DEFAULT_RUN = "default"
"""What requests that name no run are kept under."""

POOLED = ""
"""The pool of deterministic answers, shared by every run."""


class StoreError(Exception):
    """A store that cannot be used as it is. The message names the file and the way out."""


class EntryKey(NamedTuple):
    """Where an answer is kept."""

    key: bytes
    """SHA-256 of the request, 32 bytes."""
    pool: str
    """`POOLED`, or the run whose sample it is."""
    sample: int | None
    """Index of the sample in its pool from 0; None takes the next free one (`put` only)."""
    shape: str
    """`plain`, or how the answer was streamed: answers of one shape are not served in another."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A complete answer of the model server."""

    status: int
    headers: Headers
    body: bytes
    """Content encoding removed."""
    route: str
    request: bytes
    """The canonical form of the request's body that the key was taken from."""
    upstream_ms: float
    created_at: float
    """Seconds since the epoch."""


@dataclass(slots=True)
class ExchangeRecord:
    """One row of the exchange log."""

    id: str
    run: str | None
    started_at: float
    """Seconds since the epoch."""
    method: str
    path: str
    route: str | None
    status: int | None = None
    cache: str | None = None
    cache_key: str | None = None
    sample: int | None = None
    outcome: str | None = None
    error: str | None = None
    """The `code` of our own error, None where the model server answered."""
    duration_ms: float | None = None
    upstream_ms: float | None = None
    request_headers: Headers | None = None
    """Secrets redacted."""
    request_body: bytes | None = None
    """What the client sent."""
    sent_body: bytes | None = None
    """What was sent on, where that differs."""
    response_headers: Headers | None = None
    response_body: bytes | None = None
    """What the client got."""


@dataclass(slots=True)
class Losses:
    """Rows that were not written, or not read, in this process."""

    log_rows_shed: int = 0
    """Log rows dropped because the writer could not keep up."""
    log_rows_lost: int = 0
    """Log rows that the database refused (a full disk, for one)."""
    cache_rows_lost: int = 0
    """Answers that the database refused: they will be asked for again."""
    cache_reads_failed: int = 0
    """Answers that are there and could not be read (a damaged page, for one): they were asked for again."""
    last_error: str | None = None


LOSSES = tuple(item.name for item in fields(Losses) if item.name != "last_error")
"""The names of the counts."""


class ResponseStore(Protocol):
    """Answers by key."""

    async def get(self, at: EntryKey, /) -> StoredResponse | None:
        """Return the answer kept there, None where there is none. Waits only while the writer is far behind."""

    def put(self, at: EntryKey, response: StoredResponse, /) -> None:
        """Keep an answer; enqueues and never waits. One that is there already is never overwritten."""

    async def flush(self) -> None:
        """Return when everything put so far is written."""


class ExchangeLog(Protocol):
    """Records of exchanges."""

    def append(self, record: ExchangeRecord, /) -> None:
        """Keep a record; enqueues, and sheds it (counted) when the queue is full."""

    async def flush(self) -> None:
        """Return when everything appended so far is written."""
