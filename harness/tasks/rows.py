"""The rows of somebody's own data file: JSON lines, CSV or Parquet."""

import csv
import hashlib
import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConfigurationError
from harness.tasks.base import DataFacts
from harness.tasks.data import Rows, json_lines

_ENDINGS = (".jsonl", ".csv", ".parquet")


def read_rows(path: Path) -> Rows:
    """The rows of a file, by its ending. Raises ConfigurationError that names the file and what is wrong with it."""
    if path.suffix not in _ENDINGS:
        raise ConfigurationError(f"data {str(path)!r} is none of the kinds that can be read: {', '.join(_ENDINGS)}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the data file {path} cannot be read: {error.strerror}") from error
    read = {".jsonl": json_lines, ".csv": _csv, ".parquet": _parquet}[path.suffix]
    rows: list[Mapping[str, Any]] = list(read(content, path))
    if not rows:
        raise ConfigurationError(f"the data file {path} has no rows")
    digest = hashlib.sha256(content).hexdigest()
    return Rows(rows, DataFacts(path.name, path.stem, str(path), None, digest, len(rows)))


def _csv(content: bytes, path: Path) -> list[dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ConfigurationError(f"{path}, line {reader.line_num}: {error}") from error
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ConfigurationError(f"{path}, row {number}: not as many cells as the header has columns")
    return rows


def _parquet(content: bytes, path: Path) -> list[dict[str, Any]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigurationError(
            f"{path} needs a reader of Parquet files: `pip install 'evalside[tasks]'`, or convert it to JSON lines"
        ) from error
    try:
        rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
    except Exception as error:
        raise ConfigurationError(f"{path} is no Parquet file that can be read: {error}") from error
    return rows
