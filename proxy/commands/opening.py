"""The log that a command is about, opened; and what is named in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlite_utils import Database

from proxy.commands.failing import fail, failing
from proxy.commands.options import ConfigFile, StoreUrl
from proxy.commands.scope import Scope, read_scope
from proxy.store import reading, runs
from proxy.store.base import StoreError


class Log(NamedTuple):
    """An open log, and what the configuration says."""

    db: Database
    scope: Scope


@contextmanager
def open_log(config: ConfigFile, store: StoreUrl) -> Iterator[Log]:
    """Open the log for reading; a mistake ends the command with its message."""
    with failing():
        scope = read_scope(config, store)
        if not scope.log.exists():
            raise StoreError(f"there is no store at {scope.log}; name another with --store or --config")
        with reading.reading(scope.log) as db:
            yield Log(db, scope)


def whole_run(db: Database, beginning: str) -> str:
    """Return the run of this name, or the one whose name begins so."""
    if runs.exists(db, beginning):
        return beginning
    found = runs.beginning(db, beginning, limit=2)
    if not found:
        fail(f"there is no run '{beginning}' in this store; 'evalside log ls' shows what was logged")
    if len(found) > 1:
        fail(f"several runs begin with '{beginning}' ({', '.join(found)}, …); write more of the name")
    return found[0]


def pass_of(db: Database, run: str, number: int | None) -> int:
    """Return the number of a run's pass, its latest where none is asked for."""
    latest = int(runs.state([db], run)["pass"])
    if number is not None and number > latest:
        fail(f"run '{run}' has no pass {number}; its latest is {latest}")
    return latest if number is None else number
