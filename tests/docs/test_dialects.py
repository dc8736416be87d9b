"""The reference of the dialects lists what their data files say, and the format what the loader takes."""

import re

import pytest

from proxy.dialects.loading import names, shipped
from proxy.dialects.model import AnswerDialect, Dialect, RouteDialect
from tests.docs.dialects import rows
from tests.docs.markdown import DOCS, code, section, tables
from tests.docs.markdown import table as table_of

PAGE = DOCS / "reference" / "dialects.md"


def test_every_dialect_and_no_other_has_a_section():
    assert re.findall(r"^### (.+)$", section(PAGE, "## Shipped"), re.MULTILINE) == list(names())


@pytest.mark.parametrize("name", names())
def test_every_rule_is_listed(name):
    listed = [tuple(row.values()) for row in table_of(PAGE, f"### {name}")]

    assert listed == [tuple(row) for row in rows(shipped(name))]


@pytest.mark.parametrize(("place", "model"), [(0, Dialect), (1, RouteDialect), (2, AnswerDialect)])
def test_every_key_is_described(place, model):
    found = list(tables(section(PAGE, "## Format")))[place]

    assert [code(row["key"]) for row in found] == list(model.model_fields)
