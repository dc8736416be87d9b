"""How an answer is laid into a row of `responses`, and read from it."""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

from proxy.store.base import EntryKey, KeySource, StoredResponse
from proxy.store.codec import pack, pack_headers, unpack, unpack_headers

COLUMNS = "status, headers, body, route, request, upstream_ms, created_at, run, asked, prompt"
"""What `read_response` takes, in its order."""

_OF_PLACE = f"SELECT id, {COLUMNS} FROM responses WHERE key = ? AND pool = ? AND sample = ?"
_NEXT_SAMPLE = "SELECT coalesce(max(sample) + 1, 0) FROM responses WHERE key = ? AND pool = ?"
_AT = "key, pool, sample, shape"
_OTHERS = "route, status, upstream_ms, created_at, run, identity, asked, prompt, size, headers, request, body"
_PUT = f"""INTO responses ({_AT}, {_OTHERS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_MOVE = f"INTO responses ({_AT}, {_OTHERS}) SELECT ?, ?, ?, ?, {_OTHERS} FROM unconfirmed WHERE name = ?"


def read_response(row: Any) -> StoredResponse:
    """Return the answer in a row of `COLUMNS`.

    Raises:
        ValueError: the row is damaged.
    """
    status, headers, body, route, request, upstream_ms, created_at, run, asked, prompt = row
    return StoredResponse(
        status=status,
        headers=unpack_headers(headers),
        body=unpack(body),
        route=route,
        request=unpack(request),
        upstream_ms=upstream_ms,
        created_at=created_at,
        run=run,
        source=_source(asked),
        prompt=prompt or b"",
    )


def drop_damaged(connection: sqlite3.Connection, at: EntryKey) -> None:
    """Delete what is kept there, in whatever shape, and cannot be read: another answer may take its place."""
    for row_id, *row in connection.execute(_OF_PLACE, at[:3]).fetchall():
        try:
            read_response(row)
        except ValueError:
            connection.execute("DELETE FROM responses WHERE id = ?", (row_id,))


def _source(asked: str) -> KeySource:
    parts = orjson.loads(asked or "{}")
    return KeySource(
        identity=parts.get("identity", ""),
        method=parts.get("method", "POST"),
        path=parts.get("path", ""),
        query=parts.get("query", ""),
        headers=[(name, value) for name, value in parts.get("headers", [])],
    )


def write_response(
    connection: sqlite3.Connection, at: EntryKey, response: StoredResponse, *, replace: bool = False
) -> None:
    """Keep an answer; what is there already stays, unless it is to be replaced: then in all its shapes."""
    packed = pack_headers(response.headers), pack(response.request), pack(response.body)
    place = _place(connection, at, replace=replace)
    connection.execute(
        "INSERT OR IGNORE " + _PUT,
        (
            *place,
            response.route,
            response.status,
            response.upstream_ms,
            response.created_at,
            response.run,
            response.source.identity,
            orjson.dumps(response.source).decode(),
            response.prompt,
            sum(len(part or b"") for part in packed),
            *packed,
        ),
    )


def move_response(connection: sqlite3.Connection, at: EntryKey, name: str, *, replace: bool = False) -> bool:
    """Keep the unconfirmed answer of this name as it was written, as `write_response` would; return False without."""
    place = _place(connection, at, replace=replace)
    return connection.execute("INSERT OR IGNORE " + _MOVE, (*place, name)).rowcount > 0


def _place(connection: sqlite3.Connection, at: EntryKey, *, replace: bool) -> EntryKey:
    """Return where an answer goes, and make room for it."""
    if at.sample is None:
        at = at._replace(sample=connection.execute(_NEXT_SAMPLE, at[:2]).fetchone()[0])
    if replace:
        connection.execute("DELETE FROM responses WHERE key = ? AND pool = ? AND sample = ?", at[:3])
    return at
