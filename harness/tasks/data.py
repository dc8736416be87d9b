"""Rows of published data sets: local files where there is a folder of them, else the hub, at a pinned revision."""

import hashlib
import importlib
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import ConfigurationError
from harness.tasks.base import DataFacts

VARIABLE = "HARNESS_DATA_DIR"
Row = Mapping[str, Any]


class Rows(NamedTuple):
    """A split, and where it came from."""

    rows: list[Row]
    facts: DataFacts


@dataclass(frozen=True)
class DataSet:
    """A data set by its name on the hub. `revision` pins the hub's; `known` names local files by their SHA-256.

    `fields` are what every row must have: a folder may hold another set of the same name.
    """

    name: str
    config: str | None
    revision: str
    license: str
    fields: frozenset[str]
    known: Mapping[str, str]

    def split(self, split: str, data_dir: Path | None) -> Rows:
        """The rows of a split: of `<data_dir>/<name>/<split>.jsonl` if a folder is given or named by HARNESS_DATA_DIR.

        Raises ConfigurationError that says what to set, install or download.
        """
        folder = data_dir or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
        found = self._hub(split) if folder is None else self._local(split, folder)
        for number, row in enumerate(found.rows):
            missing = self.fields - row.keys()
            if missing:
                raise ConfigurationError(
                    f"{found.facts.origin} is not {self.name}: row {number} has no {', '.join(sorted(missing))}"
                )
        return found

    def _local(self, split: str, folder: Path) -> Rows:
        path = folder / self.name / f"{split}.jsonl"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"the data of {self.name} cannot be read: {path}: {error.strerror}. The folder comes from "
                f"params.extra.data_dir or {VARIABLE} and must hold {self.name}/{split}.jsonl; "
                f"without it, the data are loaded from the hub"
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        rows: list[Row] = list(json_lines(content, path))
        return Rows(rows, DataFacts(self.name, split, str(path), self.known.get(digest), digest, len(rows)))

    def _hub(self, split: str) -> Rows:
        try:
            module = importlib.import_module("datasets")
        except ImportError as error:
            raise ConfigurationError(
                f"the data of {self.name} are not here. Either install the loader (`pip install 'evalside[tasks]'`) "
                f"or name a folder that holds {self.name}/{split}.jsonl with {VARIABLE} or params.extra.data_dir"
            ) from error
        try:
            loaded = module.load_dataset(self.name, self.config, split=split, revision=self.revision)
            rows: list[Row] = [dict(row) for row in loaded]
        except Exception as error:
            raise ConfigurationError(
                f"{self.name} (revision {self.revision}) could not be loaded: {type(error).__name__}: {error}\n"
                f"Without a network, name a folder that holds {self.name}/{split}.jsonl with {VARIABLE} "
                f"or params.extra.data_dir"
            ) from error
        return Rows(rows, DataFacts(self.name, split, "hub", self.revision, digest_of(rows), len(rows)))


def json_lines(content: bytes, path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a JSON-lines file; blank lines do not count. Raises ConfigurationError that names the line."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ConfigurationError(f"{path}, line {number}: a {type(row).__name__}, not an object")
        yield row


def digest_of(rows: Iterable[Row]) -> str:
    """The SHA-256 of rows, as JSON lines with sorted keys: the same however a loader stores them."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
    return digest.hexdigest()
