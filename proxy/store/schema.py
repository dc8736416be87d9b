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


def refuse_unknown(connection: sqlite3.Connection, path: str) -> None:
    """Read, and only read, whether this version may work on the database.

    Raises:
        StoreError: a newer version of Evalside has migrated it already, or it belongs to another program.
    """
    db = Database(connection)
    known = {migration.name for migration in migrations.pending(Database(memory=True))}
    applied = {migration.name for migration in migrations.applied(db)}
    if applied - known:
        raise StoreError(
            f"{path} was made by a newer evalside (its schema has {', '.join(sorted(applied - known))});"
            " upgrade evalside, or name another file in 'store'. Nothing was changed."
        )
    foreign = [name for name in db.table_names() if name != Migrations.migrations_table]
    if foreign and not applied:
        raise StoreError(
            f"{path} is another program's database (it has the table '{foreign[0]}'); name another file in 'store'."
            " Nothing was changed."
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to this version's schema; one that has it already is left alone."""
    migrations.apply(Database(connection))
