import itertools
import os
from pathlib import Path

import pytest

from tests.unit.store.bundle_data import full_store


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    for name in [name for name in os.environ if name.startswith("EVALSIDE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Path:
    """A full store where the defaults look for it."""
    (folder / ".evalside").mkdir()
    return full_store(folder / ".evalside" / "evalside.db")


@pytest.fixture
def apart(monkeypatch) -> None:
    """IDs of exchanges that differ before their last digit, also those of one millisecond."""
    monkeypatch.setattr("proxy.core.http._counter", itertools.count(step=16))
