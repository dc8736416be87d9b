"""How an exchange is laid into a row of `exchanges`."""

from __future__ import annotations

import sqlite3

from proxy.store import queries
from proxy.store.base import DEFAULT_RUN, ExchangeRecord
from proxy.store.codec import pack_headers, pack_optional


def write_exchange(connection: sqlite3.Connection, record: ExchangeRecord) -> None:
    """Write a row of the log; large parts are compressed. `size` is what its parts take."""
    run = record.run or DEFAULT_RUN
    packed = (
        pack_headers(record.request_headers),
        pack_optional(record.request_body),
        pack_optional(record.sent_body),
        pack_headers(record.response_headers),
        pack_optional(record.response_body),
        pack_optional(record.changes),
    )
    connection.execute(
        queries.APPEND,
        (
            record.id,
            run,
            record.started_at,
            record.method,
            record.path,
            record.route,
            record.status,
            record.cache,
            record.cache_key,
            record.sample,
            record.reason,
            record.outcome,
            record.error,
            record.duration_ms,
            record.upstream_ms,
            sum(len(part or b"") for part in packed),
            *packed,
        ),
    )
