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


@migrations()
def m002_runs_samples_and_identities(db: Database) -> None:
    """Runs with their sample slots, what each run used, and which model servers it saw."""
    responses = db.table("responses")
    for column in ("run", "identity", "asked"):
        responses.add_column(column, str, not_null_default="")
    responses.add_column("prompt", bytes)
    responses.create_index(["prompt"])
    responses.create_index(["pool"])
    exchanges = db.table("exchanges")
    exchanges.add_column("reason", str)
    exchanges.add_column("pass", int, not_null_default=0)
    db.table("runs").create(
        {"run": str, "pass": int, "source": str, "mode": str, "bundle": str, "created_at": float},
        pk="run",
        not_null={"pass", "created_at"},
    )
    db.table("run_identities").create(
        {"run": str, "identity": str, "server": str, "facts": str, "first_at": float},
        pk=("run", "identity"),
        not_null={"server", "facts", "first_at"},
    )
    db.table("sequences").create(
        {"run": str, "sequence": bytes, "pass": int, "next": int}, pk=("run", "sequence"), not_null={"pass", "next"}
    )
    # Only samples of the current pass that are not used up: leased to a holder, or given back (no holder).
    db.table("slots").create(
        {"run": str, "sequence": bytes, "sample": int, "holder": str}, pk=("run", "sequence", "sample")
    )
    db.table("slots").create_index(["holder"])
    db.table("uses").create(
        {"run": str, "pass": int, "key": bytes, "pool": str, "sample": int, "asked": int, "served": int},
        pk=("run", "pass", "key", "pool", "sample"),
        not_null={"asked", "served"},
    )
    db.table("verifications").create(
        {"id": int, "run": str, "key": bytes, "at": float, "agreed": int, "differs": str},
        pk="id",
        not_null={"run", "key", "at", "agreed"},
    )


@migrations()
def m003_ledger_statistics_and_memory(db: Database) -> None:
    """What interceptors changed, counted and want to remember."""
    db.table("exchanges").add_column("changes", bytes)
    db.table("changes").create(
        {
            "run": str,
            "pass": int,
            "interceptor": str,
            "side": str,
            "field": str,
            "what": str,
            "why": str,
            "requests": int,
        },
        pk=("run", "pass", "interceptor", "side", "field", "what", "why"),
        not_null={"requests"},
    )
    db.table("transformed").create(
        {"run": str, "pass": int, "requests": int}, pk=("run", "pass"), not_null={"requests"}
    )
    db.table("statistics").create(
        {"run": str, "pass": int, "name": str, "count": int, "total": float, "smallest": float, "largest": float},
        pk=("run", "pass", "name"),
        not_null={"count", "total", "smallest", "largest"},
    )
    db.table("memory").create(
        {"run": str, "kind": str, "key": str, "value": str, "at": float},
        pk=("run", "kind", "key"),
        not_null={"value", "at"},
    )
    db.table("memory").create_index(["at"])


@migrations()
def m004_unconfirmed_answers(db: Database) -> None:
    """Answers that are no entries yet, with what it takes to make them ones in another process."""
    db.table("unconfirmed").create(
        {
            "name": str,
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
            "run": str,
            "pass": int,
            "identity": str,
            "asked": str,
            "prompt": bytes,
            "model": str,
            "client": str,
            "received": str,
            "holder": str,
            "used": int,
            "replaces": int,
        },
        pk="name",
        not_null={"key", "pool", "shape", "created_at", "size", "run", "identity", "client", "used", "replaces"},
    )
    db.table("unconfirmed").create_index(["holder"])


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
