import json

import pytest

from tests.bench import gates, report, servers
from tests.bench.usage import Usage

VALUES = {"unique requests": {"per_second": {servers.DEFAULT: [50.0, 70.0], servers.NGINX: [100.0, 100.0]}}}


@pytest.fixture
def found():
    """A run that has measured nothing."""
    return {
        "conditions": report.conditions(),
        "workloads": {},
        "usage": {},
        "clients": {},
        "store": {},
        "gates": [],
        "void": [],
    }


def test_what_was_not_measured_has_no_table(found, capsys):
    report.show(found)
    assert len(capsys.readouterr().out.strip().splitlines()) == 1
    found["clients"] = {"16": {"httpx": [3.0], "aiohttp": [1.0]}}
    report.show(found)
    out = capsys.readouterr().out
    assert "upstream client alone" in out
    assert "Medians" not in out
    assert "Gates" not in out
    assert "Memory" not in out


def test_a_store_without_a_complete_round_is_not_reported(found, capsys):
    found["store"] = {"empty store": [1.0], "1,000,000 entries": []}
    report.show(found)
    assert "Hits from" not in capsys.readouterr().out


def test_medians_spread_and_verdicts_are_shown(found, capsys):
    found |= {"workloads": VALUES, "gates": gates.judged(VALUES, cores=2), "void": ["hits, nginx: no answers"]}
    report.show(found)
    out = capsys.readouterr().out
    assert "0.6 (0.5 to 0.7)" in out
    assert ">= 0.1" in out
    assert "passed" in out
    assert "Not measured: hits, nginx: no answers" in out


def test_the_file_holds_every_value_and_verdict(found, tmp_path):
    before, after = Usage(1.0, 50.0, 20), Usage(9.0, 60.0, 21)
    found |= {"workloads": VALUES, "gates": gates.judged(VALUES, cores=2), "usage": {"nginx": (before, after)}}
    report.write(found, tmp_path / "bench.json")
    read = json.loads((tmp_path / "bench.json").read_text())
    assert read["workloads"] == VALUES
    assert read["usage"]["nginx"] == {"before": before._asdict(), "after": after._asdict()}
    [gate] = read["gates"]
    assert gate["ratios"] == [0.5, 0.7]
    assert (gate["ratio"], gate["passed"], gate["least"]) == (0.6, True, 0.1)
