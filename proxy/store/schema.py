"""The SQLite schema and its migrations."""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from proxy.store.base import StoreError

migrations = Migrations("evalside")


@migrations()
def m001_responses_and_exchanges(db: Database) -> None:
    """Answers by key, the exchange log, and counts that outlive the process."""
    db.table("responses").create(
        {
            "id": int,
            "key": bytes,
            "pool": str,
            "sample": int,
            "shape": str,
            "route": str,
            "status": int,
            "upstream_ms": float,
            "created_at": float,
            "size": int,
            "headers": bytes,
            "request": bytes,
            "body": bytes,
        },
        pk="id",
        not_null={
            "key",
            "pool",
            "sample",
            "shape",
            "route",
            "status",
            "created_at",
            "size",
            "headers",
            "request",
            "body",
        },
    )
    db.table("responses").create_index(["key", "pool", "sample", "shape"], unique=True)
    db.table("responses").create_index(["created_at"])
    db.table("exchanges").create(
        {
            "seq": int,
            "id": str,
            "run": str,
            "started_at": float,
            "method": str,
            "path": str,
            "route": str,
            "status": int,
            "cache": str,
            "cache_key": str,
            "sample": int,
            "outcome": str,
            "error": str,
            "duration_ms": float,
            "upstream_ms": float,
            "size": int,
            "request_headers": bytes,
            "request_body": bytes,
            "sent_body": bytes,
            "response_headers": bytes,
            "response_body": bytes,
        },
        pk="seq",
        not_null={"id", "run", "started_at", "method", "path", "size"},
    )
    db.table("exchanges").create_index(["id"], unique=True)
    db.table("exchanges").create_index(["run", "seq"])
    db.table("exchanges").create_index(["started_at"])
    db.table("losses").create({"name": str, "rows": int}, pk="name", not_null={"rows"})


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the database to this version's schema.

    Raises:
        StoreError: a newer version of Evalside has migrated it already.
    """
    db = Database(connection)
    known = {migration.name for migration in migrations.pending(Database(memory=True))}
    newer = {migration.name for migration in migrations.applied(db)} - known
    if newer:
        raise StoreError(
            f"{path} was made by a newer evalside (its schema has {', '.join(sorted(newer))});"
            " upgrade evalside, or name another file in 'store'. Nothing was changed."
        )
    migrations.apply(db)
