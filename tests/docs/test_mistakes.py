"""The page of the reference's mistakes names tests that are there, for every mistake that has a number."""

import ast
from functools import cache

import pytest

from tests.docs.markdown import DOCS, ROOT, codes, tables

PAGE = DOCS / "reference" / "mistakes.md"
NUMBERED = ["W-C1", "W-C2", "W-C3", "W-C4", "W-C5", "W-F1", "W-FR1", "W-M1"]
NUMBERED += ["W-R1", "W-R2", "W-R3", "W-S1", "W-S2", "W-S3", "W-T1"]
ROWS = [row for rows in tables(PAGE.read_text()) for row in rows]
OURS = "tests/contract/reference_mistakes/"


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_numbered_mistake_is_there_once():
    assert sorted(row["mistake"] for row in ROWS if row["mistake"].startswith("W-")) == NUMBERED


@pytest.mark.parametrize("row", [pytest.param(row, id=row["mistake"]) for row in ROWS])
def test_its_tests_exist(row):
    named = codes(row["test"])

    assert named
    for name in named:
        path, _, function = name.partition("::")
        assert function in functions_of(path), name


@pytest.mark.parametrize("row", [pytest.param(row, id=row["mistake"]) for row in ROWS if row["mistake"] in NUMBERED])
def test_the_test_of_a_numbered_one_has_its_number(row):
    number = row["mistake"].lower().replace("-", "_")

    assert all(name.partition("::test_")[2].startswith(f"{number}_") for name in codes(row["test"]))


def test_every_test_of_a_mistake_is_in_the_table():
    named = {name for row in ROWS for name in codes(row["test"]) if name.startswith(OURS)}
    there = {
        f"{OURS}{path.name}::{name}"
        for path in (ROOT / OURS).glob("test_*.py")
        for name in functions_of(OURS + path.name)
    }

    assert there == named
