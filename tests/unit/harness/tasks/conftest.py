"""Data of the project's own making, laid out as the published data sets are."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hub import write_hub, write_lines


@pytest.fixture
def lines() -> Callable[[Path, Sequence[Mapping[str, Any]]], Path]:
    """Writes rows as JSON lines."""
    return write_lines


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder with six word problems, twelve more to draw examples from, and two questions of each subject."""
    return write_hub(tmp_path / "hub", problems=6, questions=2)
