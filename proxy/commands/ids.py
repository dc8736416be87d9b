"""IDs as people type them: their beginning is enough."""

from __future__ import annotations

from sqlite_utils import Database

from proxy.commands.failing import fail
from proxy.store import reading


def whole_id(db: Database, beginning: str, *, unknown: str) -> str:
    """Return the one exchange ID that begins so; else exit, where there is none with `unknown`."""
    found = reading.exchange_ids(db, beginning, limit=2)
    if not found:
        fail(unknown)
    if len(found) > 1:
        fail(f"several exchanges begin with '{beginning}' ({', '.join(found)}, …); write more of the ID")
    return found[0]
