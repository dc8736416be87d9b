"""A run's answers, or everything, written to a file: a bundle, or pairs to read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy import __version__
from proxy.core.redact import Redactor
from proxy.store.base import EntryKey, StoredResponse
from proxy.store.bundle.archive import LONGEST_LINE, order, replacing, write_archive
from proxy.store.bundle.choice import Row, Tally, chosen, identities, known
from proxy.store.bundle.connection import snapshot
from proxy.store.bundle.entry import check, pair, write_line
from proxy.store.bundle.manifest import FORMAT, VERSION, BundleError, Manifest, Member, read_sealed, sealed
from proxy.store.bundle.profiles import noted
from proxy.store.rows import COLUMNS, read_response
from proxy.store.samples import run_state
from proxy.store.saved import ALL, Saved
from proxy.wire.key import KEY_VERSION


def export_run(
    db: Path,
    run: str | None,
    target: Path,
    *,
    pipeline: Mapping[str, Any],
    capabilities: Mapping[str, Any] | None = None,
    memory: Path | None = None,
) -> Manifest:
    """Write a run's answers to `target`, whole or not at all, and return the manifest.

    Args:
        db: the database, migrated; it may be in use.
        run: None for the answers of every run.
        target: is replaced where it exists; for its owner alone.
        pipeline: what the sidecar is configured to do, as JSON, secrets redacted.
        capabilities: the model server's capability profile, as JSON, secrets redacted.
        memory: the database that interceptors remember in, where it is another one and is there.

    Raises:
        BundleError: the run is unknown or has nothing that a bundle can hold, or the file cannot be written.
        StoreError: the database cannot be read.
    """
    tally = Tally()
    written: list[bytes] = []
    apart = memory is not None and memory != db and memory.exists()
    profiles = None
    if memory is not None and apart:
        with snapshot(memory) as connection:
            profiles = noted(connection, run)
    with snapshot(db) as connection:
        rows = _rows_of(connection, run)

        def manifest(member: Member) -> bytes:
            if tally.entries == 0:
                raise BundleError(f"there is nothing to export{_of(run)}: no answer that a bundle can hold")
            written.append(
                sealed(
                    {
                        "format": FORMAT,
                        "version": VERSION,
                        "evalside": __version__,
                        "key_version": KEY_VERSION.decode(),
                        "created": tally.created,
                        "run": run,
                        "pass": 0 if run is None else run_state(connection, run).number,
                        "identities": tally.seen(identities(connection, run)),
                        "pipeline": dict(pipeline),
                        "capabilities": None if capabilities is None else dict(capabilities),
                        "profiles": profiles if apart else noted(connection, run),
                        "models": sorted(tally.models),
                        "counts": tally.counts(left_out=len(rows) - tally.entries),
                        "members": {"entries.jsonl": member.model_dump()},
                    }
                )
            )
            return written[0]

        write_archive(target, _lines(connection, rows, tally), manifest)
    return read_sealed(written[0])


def export_pairs(
    db: Path, run: str | None, target: Path, *, saved: Saved = ALL, redactor: Redactor | None = None
) -> int:
    """Write a run's requests and answers (None: everything) as lines of JSON, and return how many; else as above.

    Args:
        db: the database.
        run: as above.
        target: as above.
        saved: how many of the requests and answers are in it; the other lines have their facts alone.
        redactor: takes out secrets that are known by now.
    """
    shown = redactor or Redactor()
    count = 0
    with snapshot(db) as connection, replacing(target) as file:
        for at, response in _read(connection, _rows_of(connection, run)):
            line = pair(at, response, request=saved.request(count), answer=saved.response(count))
            file.write(shown.raw(line) + b"\n")
            count += 1
    return count


def _rows_of(connection: sqlite3.Connection, run: str | None) -> list[Row]:
    """Return what a run has, in the order of a bundle; raises BundleError for a run that is not there."""
    if run is not None and not known(connection, run):
        raise BundleError(f"the store has no run '{run}'; 'evalside cache stats' lists the runs")
    return sorted(chosen(connection, run), key=lambda row: order(row.at))


def _lines(connection: sqlite3.Connection, rows: list[Row], tally: Tally) -> Iterator[bytes]:
    """Yield the lines of a bundle; an answer that an import would refuse is left out."""
    for at, response in _read(connection, rows):
        try:
            check(at, response)
            line = write_line(at, response)
        except ValueError:
            continue  # counted: it is one of the rows, and not in the tally
        if len(line) < LONGEST_LINE:
            tally.add(at, response)
            yield line


def _read(connection: sqlite3.Connection, rows: list[Row]) -> Iterator[tuple[EntryKey, StoredResponse]]:
    """Yield the answers that can be read; a damaged one is a miss for the sidecar too."""
    for at, row_id in rows:
        row = connection.execute(f"SELECT {COLUMNS} FROM responses WHERE id = ?", (row_id,)).fetchone()
        try:
            response = read_response(row)
        except ValueError:
            continue
        yield at, response


def _of(run: str | None) -> str:
    return "" if run is None else f" of run '{run}'"
