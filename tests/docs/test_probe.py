"""The reference of the probe lists the checks, kinds of tasks and verdicts that there are."""

import dataclasses
import json
import re

import pytest

from proxy.probing.check import NEEDS
from proxy.probing.table import CHECKS, ROUTES
from proxy.wire.profile import Profile, Verdict, read_profile
from tests.docs.markdown import DOCS, code, codes, fences, section, table

PAGE = DOCS / "reference" / "probe.md"


def test_every_verdict_is_listed():
    assert [code(row["verdict"]) for row in table(PAGE, "## Verdicts")] == list(Verdict)


def test_every_kind_of_task_is_listed():
    assert {code(row["kind"]): row["tasks"] for row in table(PAGE, "## Kinds of tasks")} == NEEDS


@pytest.mark.parametrize("route", ROUTES)
def test_every_check_is_listed_in_order(route):
    expected = [
        (check.what, check.about, ", ".join(check.needed_by) or "none")
        for check in CHECKS.values()
        if check.route == route
    ]

    rows = table(PAGE, f"### {route}")
    assert [(code(row["check"]), row["supported when"], row["needed by"]) for row in rows] == expected


def test_no_other_route_is_described():
    assert tuple(re.findall(r"^### (.+)$", section(PAGE, "## Checks"), re.MULTILINE)) == ROUTES


def test_every_field_of_the_profile_is_listed():
    fields = [code(row["field"]) for row in table(PAGE, "## Profile")]

    assert fields == ["format", *(field.name for field in dataclasses.fields(Profile))]


def test_the_example_is_a_profile():
    [example] = [fence for fence in fences("json") if fence.path == PAGE]

    assert read_profile(example.text.encode()).verdict("completions.echo_logprobs") is Verdict.IGNORED
    for name, item in json.loads(example.text)["capabilities"].items():
        assert tuple(item["needed_by"]) == CHECKS[name].needed_by


def test_the_command_line_names_every_route():
    [row] = [row for row in table(DOCS / "reference" / "cli.md", "## probe") if row["option"] == "`--route`"]

    assert row["meaning"].partition(": ")[2].partition(";")[0].split(", ") == list(ROUTES)
    assert codes(row["default"]) == []
