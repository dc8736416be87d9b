from pathlib import Path

import pytest

from tests.unit.store.bundle.making import export
from tests.unit.store.bundle_data import full_store, new_store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return full_store(tmp_path / "source.db")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return new_store(tmp_path / "target.db")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return export(full_store(tmp_path_factory.mktemp("made") / "source.db"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    return new_store(tmp_path_factory.mktemp("empty") / "empty.db")
