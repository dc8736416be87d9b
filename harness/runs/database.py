"""The list of runs, in a SQLite file of the working directory."""

import os
import sqlite3
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlite_utils import Database

from harness.errors import UnknownRun
from harness.runs.lock import goes_on

FOLDER = Path(".evalside")
_OVER = frozenset({"success", "failed", "interrupted", "killed"})


@dataclass(frozen=True)
class RunRow:
    """One run. `plan` is what it does, as JSON without secrets; `source` the run that it replays.

    `began_by` is the program. `state` is pending, running, success, failed, interrupted or killed.
    """

    id: str
    created_at: float
    state: str
    began_by: str
    folder: str
    plan: str
    source: str | None = None
    ended_at: float | None = None


@dataclass(frozen=True)
class JobRow:
    """One task of a run, and how far it is. `place` is its run in the sidecar."""

    run: str
    name: str
    place: str
    folder: str
    state: str = "pending"
    model_id: str | None = None
    total: int = 0
    done: int = 0
    hits: int = 0
    errors: int = 0
    seconds: float = 0.0
    score_name: str | None = None
    score: float | None = None
    message: str | None = None


class Runs:
    """The runs below `folder`, while the `with` block is open. The file is 0600; secrets are not in it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._database: Database | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "runs.db"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        # Written by the run's own thread and by helpers that start sidecars; one at a time.
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        self._database = Database(connection)
        self._make_tables()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            self._database.conn.close()

    def lock_path(self, run: str) -> Path:
        """The file that is locked while the run goes on."""
        return self._folder / "runs" / f"{run}.lock"

    def log_path(self, run: str) -> Path:
        """The run's own log."""
        return self._folder / "runs" / f"{run}.log"

    def add(self, run: RunRow, jobs: list[JobRow]) -> None:
        """Enters a run that begins."""
        with self._db.conn:
            self._db.table("runs").insert(asdict(run))
            self._db.table("jobs").insert_all(asdict(job) for job in jobs)

    def has(self, run: str) -> bool:
        """Whether there is a run with exactly this id."""
        return bool(list(self._db.table("runs").rows_where("id = ?", [run])))

    def find(self, prefix: str) -> RunRow:
        """The run whose id is, or alone begins with, `prefix`. Raises UnknownRun."""
        rows = list(
            self._db.table("runs").rows_where("substr(id, 1, ?) = ?", [len(prefix), prefix], order_by="created_at")
        )
        exact = [row for row in rows if row["id"] == prefix]
        found = exact or rows
        if not prefix or not found:
            raise UnknownRun(f"there is no run {prefix!r} in {self._folder}; `evalside ls runs` lists them")
        if len(found) > 1:
            ids = ", ".join(row["id"] for row in found[:8])
            raise UnknownRun(f"{prefix!r} is the beginning of {len(found)} runs; write more of one of: {ids}")
        return self._current(RunRow(**found[0]))

    def all(self, limit: int | None = None) -> list[RunRow]:
        """The runs, newest first."""
        rows = self._db.table("runs").rows_where(order_by="created_at desc", limit=limit)
        return [self._current(RunRow(**row)) for row in rows]

    def jobs(self, run: RunRow) -> list[JobRow]:
        """The tasks of a run, in the order of its plan."""
        rows = [JobRow(**row) for row in self._db.table("jobs").rows_where("run = ?", [run.id], order_by="rowid")]
        if run.state == "interrupted":
            return [JobRow(**{**asdict(row), "state": _ended(row.state)}) for row in rows]
        return rows

    def change(self, run: str, **values: Any) -> None:
        """Sets fields of a run."""
        ended = {"ended_at": time.time() if values["state"] in _OVER else None} if "state" in values else {}
        self._db.table("runs").update(run, values | ended)

    def change_job(self, run: str, name: str, **values: Any) -> None:
        """Sets fields of one of its tasks."""
        self._db.table("jobs").update((run, name), values)

    def _current(self, run: RunRow) -> RunRow:
        """The run as it is: one whose process was killed could not say so itself."""
        if run.state in _OVER or goes_on(self.lock_path(run.id)):
            return run
        return RunRow(**{**asdict(run), "state": "interrupted"})

    @property
    def _db(self) -> Database:
        assert self._database is not None, "the database is open only inside its with block"
        return self._database

    def _make_tables(self) -> None:
        text, number, real = str, int, float
        runs = {"id": text, "created_at": real, "state": text, "began_by": text, "folder": text, "plan": text,
                "source": text, "ended_at": real}  # fmt: skip
        jobs = {"run": text, "name": text, "place": text, "folder": text, "state": text, "model_id": text,
                "total": number, "done": number, "hits": number, "errors": number, "seconds": real,
                "score_name": text, "score": real, "message": text}  # fmt: skip
        self._db.table("runs").create(runs, pk="id", if_not_exists=True)
        self._db.table("jobs").create(jobs, pk=("run", "name"), if_not_exists=True)


def _ended(state: str) -> str:
    return state if state in _OVER else "interrupted"
