"""The statements of the hot path, and what goes into them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import orjson

from proxy.store.rows import COLUMNS

GET = f"SELECT {COLUMNS} FROM responses WHERE key = ? AND pool = ? AND sample = ? AND shape = ?"
GET_WITH_ID = GET.replace("SELECT", "SELECT id,", 1)
OTHERS = f"SELECT shape, {COLUMNS} FROM responses WHERE key = ? AND pool = ? AND sample = ? AND shape != ?"
SAW = "INSERT OR IGNORE INTO run_identities (run, identity, server, facts, first_at) VALUES (?, ?, ?, ?, ?)"
VERIFIED = "INSERT INTO verifications (run, key, at, agreed, differs) VALUES (?, ?, ?, ?, ?)"
APPEND = """INSERT OR IGNORE INTO exchanges
(id, run, "pass", started_at, method, path, route, status, cache, cache_key, sample, reason, outcome, error,
duration_ms, upstream_ms, size, request_headers, request_body, sent_body, response_headers, response_body,
changes) VALUES (?1, ?2, coalesce((SELECT "pass" FROM runs WHERE run = ?2), 0),
?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def seen(run: str, identity: str, server: str, facts: Mapping[str, str]) -> tuple[object, ...]:
    """Return the values of `SAW`, as of now."""
    return run, identity, server, orjson.dumps(dict(facts)).decode(), time.time()


def verification(run: str, key: bytes, differs: str | None) -> tuple[object, ...]:
    """Return the values of `VERIFIED`, as of now."""
    return run, key, time.time(), differs is None, differs
