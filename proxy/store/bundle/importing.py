"""A bundle's answers, put into a store: all of them, or with any mistake in the file none."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from proxy.store.base import DEFAULT_RUN, POOLED, sample_pool
from proxy.store.bundle.archive import Archive, opened
from proxy.store.bundle.checking import checked
from proxy.store.bundle.connection import connected
from proxy.store.bundle.manifest import RUN, BundleError, Manifest
from proxy.store.bundle.profiles import adopt
from proxy.store.rows import write_response

_KEPT = """key, pool, sample, shape, route, status, upstream_ms, created_at, size, headers, request, body, run,
identity, asked, prompt"""
_TAKEN = """SELECT 1 FROM uses WHERE run = :run UNION ALL SELECT 1 FROM exchanges WHERE run = :run
UNION ALL SELECT 1 FROM main.responses WHERE pool = :run OR (pool >= :run || '/' AND pool < :run || '0') LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    manifest: Manifest
    runs: tuple[str, ...]
    """Names that the bundle's runs have here."""
    added: int
    """Answers that are new."""
    present: int
    """Answers that were there already, and stayed as they were."""


def import_bundle(
    db: Path,
    bundle: Path,
    *,
    run: str | None = None,
    dry_run: bool = False,
    consent: Callable[[Manifest], object] | None = None,
) -> Imported:
    """Put a bundle's answers into a database: all of them, or with any mistake in the bundle none.

    Importing the same bundle again adds what is missing by then, which as a rule is nothing.

    Args:
        db: the database, migrated; it may be in use, and is locked only while the checked answers are copied.
        bundle: the file; it is not trusted.
        run: another name for its run.
        dry_run: change nothing, and say what would be done.
        consent: is called once all is checked and nothing is written; what it raises ends the import. No check says
            who made a bundle, and its deterministic answers are served to everyone.

    Raises:
        BundleError: the bundle is not to be trusted, or the run's name is taken.
        StoreError: the database cannot be written.
    """
    with connected(db) as connection:
        # Shadows the table of the same name in the database: what is written meanwhile locks nobody out.
        connection.execute("CREATE TEMP TABLE responses AS SELECT * FROM main.responses WHERE 0")
        with opened(bundle) as archive:
            manifest = archive.manifest
            runs, total = _fill(connection, archive, _name(manifest, bundle, run))
        if consent is not None:
            consent(manifest)
        connection.execute("BEGIN IMMEDIATE")
        for each in sorted(runs):
            _refuse_taken(connection, each, manifest, bundle)
        added = connection.execute(
            f"INSERT OR IGNORE INTO main.responses ({_KEPT}) SELECT {_KEPT} FROM temp.responses ORDER BY rowid"
        ).rowcount
        for each in sorted(runs):
            _adopt(connection, each, manifest)
            adopt(connection, each, manifest.profiles, manifest.run)
        connection.execute("ROLLBACK" if dry_run else "COMMIT")
    return Imported(manifest, tuple(sorted(runs)), added, total - added)


def _fill(connection: sqlite3.Connection, archive: Archive, name: str | None) -> tuple[set[str], int]:
    """Put the answers, checked, into the table aside; return the names of their runs here, and how many they are."""
    runs = set() if name is None else {name}
    total = 0
    connection.execute("BEGIN")
    for at, response in checked(archive):
        run_of = name
        if at.pool != POOLED:
            source, _, received = at.pool.partition("/")
            run_of = name or source
            at = at._replace(pool=sample_pool(run_of, received))  # noqa: PLW2901 - the same answer, renamed
            runs.add(run_of)
        write_response(connection, at, dataclasses.replace(response, run=run_of or DEFAULT_RUN))
        total += 1
    connection.execute("COMMIT")
    return runs, total


def _name(manifest: Manifest, bundle: Path, run: str | None) -> str | None:
    if run is None:
        return manifest.run
    if manifest.run is None:
        raise BundleError(f"bundle {bundle} holds every run of a store, which --as cannot name; import it without --as")
    if not re.fullmatch(RUN, run):
        raise BundleError(
            f"'{run}' is not a run name: a letter or digit, then up to 127 letters, digits, dots, underscores, dashes"
        )
    return run


def _refuse_taken(connection: sqlite3.Connection, run: str, manifest: Manifest, bundle: Path) -> None:
    row = connection.execute("SELECT bundle FROM runs WHERE run = ?", (run,)).fetchone()
    if row is not None and row[0] == manifest.checksum:
        return
    if row is not None or connection.execute(_TAKEN, {"run": run}).fetchone() is not None:
        way_out = "import into another store (--store)" if manifest.run is None else "give it another name with --as"
        raise BundleError(f"bundle {bundle}: run '{run}' is another run of this store; {way_out}")


def _adopt(connection: sqlite3.Connection, run: str, manifest: Manifest) -> None:
    """Note that a run came from a bundle, who answered it and, where the bundle is of this run alone, what it used."""
    now = time.time()
    connection.execute(
        "INSERT OR IGNORE INTO runs (run, pass, bundle, created_at) VALUES (?, ?, ?, ?)",
        (run, manifest.number, manifest.checksum, now),
    )
    answered = {
        row[0] for row in connection.execute("SELECT DISTINCT identity FROM temp.responses WHERE run = ?", (run,))
    }
    connection.executemany(
        "INSERT OR IGNORE INTO run_identities (run, identity, server, facts, first_at) VALUES (?, ?, ?, ?, ?)",
        [
            (run, item.name, item.server, orjson.dumps(item.facts).decode(), item.first_at)
            for item in manifest.identities
            if manifest.run is not None or item.name in answered
        ],
    )
    if manifest.run is not None:
        connection.execute(
            'INSERT OR IGNORE INTO uses (run, "pass", key, pool, sample, asked, served)'
            " SELECT DISTINCT ?, ?, key, pool, sample, 0, 0 FROM temp.responses WHERE pool = ''",
            (run, manifest.number),
        )
