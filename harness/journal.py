"""The samples of a run as they are answered, on disk: what a killed run had is not asked again."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from harness.records import SampleRecord
from harness.redact import Redactor

JOURNAL_FILE = "samples.journal.jsonl"


class Journal:
    """Appends each answered sample to `samples.journal.jsonl` (0600) in `folder` while the `with` block is open.

    `answered` is what an earlier process of the same `run` had written; another run's journal is begun anew. A line
    that a kill cut off does not count. Samples with an error are not kept: they are asked again.
    """

    def __init__(self, folder: Path, run: str, redactor: Redactor) -> None:
        self.answered: list[SampleRecord] = []
        self._path = folder / JOURNAL_FILE
        self._heading = {"run": run}
        self._redactor = redactor
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "rb+", buffering=0)
        whole = self._read(self._file)
        self._file.truncate(whole)
        if not whole:
            self._write(self._heading)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: SampleRecord) -> None:
        """Keeps a sample; it is with the operating system before this returns, which a killed process cannot undo."""
        if record.error is None:
            self._write(self._redactor.strings(dataclasses.asdict(record)))

    def remove(self) -> None:
        """Deletes the file: `samples.jsonl` has it all."""
        self._path.unlink(missing_ok=True)

    def _read(self, file: BinaryIO) -> int:
        """Takes in what this run has there; returns how many bytes of the file are good."""
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        heading, *rows = [orjson.loads(line) for line in whole.splitlines()] or [None]
        if heading != self._heading:
            return 0
        self.answered = [SampleRecord(**row) for row in rows]
        return len(whole)

    def _write(self, row: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def is_begun(folder: Path) -> bool:
    """Whether a folder has a journal: its run did not end, or ended with samples that got no answer."""
    return (folder / JOURNAL_FILE).exists()
