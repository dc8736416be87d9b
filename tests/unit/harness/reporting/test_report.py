import json

import pytest

from harness.reporting.findings import Finding
from harness.reporting.manifest import Told, manifest
from harness.reporting.report import by_sample, page, report
from harness.reporting.sidecar import SidecarFacts
from tests.unit.harness.reporting.made import results, row

TOLD = Told(
    task="quiz",
    run="quiz-1",
    git_hash="",
    command="evalside run",
    config={"type": "quiz"},
    target={"api_endpoint": {}},
    model="m",
    started_at="2026-01-01T00:00:00+00:00",
    ended_at="2026-01-01T00:01:00+00:00",
)


@pytest.fixture
def document():
    def make(rows, findings=(), found=None):
        scores = [each["score"] for each in rows if each["score"] is not None]
        value = sum(scores) / len(scores) if scores else 0.0
        return report(rows, found or results(value=value), findings, manifest(TOLD, SidecarFacts()))

    return make


def test_scores_have_stderr_and_a_bootstrap_interval_and_counts_have_none(document):
    scores = document([row(n, score=float(n % 2)) for n in range(40)])["tasks"]["quiz"]
    low, high = scores["accuracy"]["interval"]
    assert 0.3 < low < 0.5 < high < 0.7
    assert scores["accuracy"]["count"] == 40
    assert scores["accuracy"]["stderr"] == pytest.approx(0.0801, abs=1e-3)
    assert scores["errors.count"] == {"value": 0.0}


def test_tasks_of_another_harness_have_the_intervals_of_their_own_samples(document):
    rows = [row(n, group="one", score=1.0) for n in range(6)]
    rows += [row(10 + n, group="two", score=float(n % 2)) for n in range(4)]
    parts = {"both": 0.8, "one": 1.0, "two": 0.5, "elsewhere": 0.3}
    found = {"tasks": {name: results(name, value)["tasks"][name] for name, value in parts.items()}}
    told = document(rows, found=found)["tasks"]
    assert {name: told[name]["accuracy"].get("count") for name in parts} == {
        "both": 10, "one": 6, "two": 4, "elsewhere": None,
    }  # fmt: skip
    assert told["one"]["accuracy"]["interval"] == [1.0, 1.0]
    assert "Scores of two" in page(document(rows, found=found), rows)


def test_a_score_that_is_no_mean_over_the_samples_has_no_interval(document):
    macro = results(value=0.9)
    assert document([row(1), row(2, score=0.0)], found=macro)["tasks"]["quiz"]["accuracy"] == {"value": 0.9}


def test_a_bar_stays_in_its_place(document):
    rows = [row(n, score=float(90 + n)) for n in range(20)]
    assert "left:100.00%;right:0.00%" in page(document(rows), rows)


def test_groups_are_told_where_there_are_several(document):
    rows = [row(1, group="law"), row(2, group="math", score=0.0), row(3, group="math"), row(4, group="art", score=None)]
    assert {name: score["value"] for name, score in document(rows)["groups"].items()} == {"law": 1.0, "math": 0.5}
    assert document([row(1), row(2)])["groups"] == {}


def test_repeats_count_once_by_their_mean():
    rows = [row(1, score=0.0), row(1, sub_query_id=1), row(2), row(3, score=None)]
    assert by_sample(rows, "accuracy") == [0.5, 1.0]


def test_the_document_is_json_with_findings_and_manifest(document):
    found = json.loads(json.dumps(document([row(1)], [Finding("empty", 1, 2, "Empty.", ("s-001",))])))
    assert found["findings"][0]["share"] == 0.5
    assert (found["task"], found["run"], found["model"]) == ("quiz", "quiz-1", "m")
    assert found["manifest"]["format"] == 1


def test_the_page_shows_everything_and_loads_nothing(document):
    rows = [row(n, group="ab"[n % 2], score=float(n % 2)) for n in range(20)]
    text = page(document(rows, [Finding("empty", 1, 2, "Empty.", ("s-001",))]), rows)
    assert "Empty." in text
    assert 'href="#s-001"' in text
    assert "question 19" in text
    assert "By subject" in text
    for loads in ("src=", "@import", "url(", 'http-equiv="refresh', "<link"):
        assert loads not in text


def test_what_a_model_said_cannot_become_part_of_the_page(document):
    evil = "</pre><script>alert(1)</script>"
    rows = [row(1, generation=evil, query=evil, answer=evil, id=evil, error=evil, score=None)]
    text = page(document(rows), rows)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_failed_and_lowest_come_first_and_the_rest_is_left_out(document):
    rows = [row(1), row(2, score=0.5), row(3, score=None, error="HTTP 500: no"), row(4)]
    text = page(document(rows), rows, shown=3)
    assert text.index("s-003") < text.index("s-002") < text.index("s-001")
    assert "3 of 4" in text
    assert 'id="s-004"' not in text


def test_a_sample_that_nothing_was_read_from_ends_with_its_group(document):
    rows = [row(0, answer=None, group="law")]
    assert "s-000 · law</summary>" in page(document(rows), rows)


def test_without_findings_the_page_says_so(document):
    assert "Nothing was found" in page(document([row(1)]), [row(1)])
