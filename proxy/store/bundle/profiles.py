"""What normalize went by in a bundle's runs: without it a replay would build other requests than those recorded."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.dialects.frozen import KEY, KIND, Frozen, read_frozen
from proxy.store.bundle.connection import connected
from proxy.store.memories import remember

_ALL = "SELECT run, value FROM memory WHERE kind = ? AND key = ?"
_OF = f"{_ALL} AND run = ?"


def noted(connection: sqlite3.Connection, run: str | None) -> dict[str, Any] | None:
    """Return the profile of a run, or of each run, by its name; None where there is none."""
    asked = (KIND, KEY)
    rows = connection.execute(_ALL, asked) if run is None else connection.execute(_OF, (*asked, run))
    found = {name: profile.model_dump() for name, text in rows if (profile := read_frozen(text)) is not None}
    return found or None


def adopt(connection: sqlite3.Connection, run: str, profiles: Mapping[str, Frozen] | None, source: str | None) -> None:
    """Give a run its profile, in a transaction; one that it has already stays.

    Args:
        connection: of the database that normalize remembers in.
        run: its name here.
        profiles: by the names that runs have in the bundle.
        source: the name it has there; None is the same one.
    """
    profile = (profiles or {}).get(source or run)
    taken = connection.execute(_OF, (KIND, KEY, run)).fetchone()
    if profile is not None and taken is None:
        remember(connection, (run, KIND, KEY), profile.text(), time.time(), None)


def adopt_apart(db: Path, runs: Mapping[str, str | None], profiles: Mapping[str, Frozen] | None) -> None:
    """Give runs their profiles in a database other than the one that the answers are in.

    Args:
        db: it, migrated.
        runs: names here -> names in the bundle.
        profiles: by the names in the bundle.

    Raises:
        StoreError: it cannot be written.
    """
    with connected(db) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for run, source in runs.items():
            adopt(connection, run, profiles, source)
        connection.execute("COMMIT")
