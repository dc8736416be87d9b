import dataclasses
import json

import pytest

from harness.errors import ConfigurationError
from harness.reporting.compare import compare, in_words
from harness.reporting.folder import read_folder
from tests.unit.harness.reporting.made import folder, row


@pytest.fixture
def ended(tmp_path):
    def make(name, rows, **kwargs):
        return read_folder(folder(tmp_path / name, rows, **kwargs))

    return make


def test_paired_differences_flips_and_mcnemars_p(ended):
    a = ended("a", [row(n, score=float(n % 2)) for n in range(12)])
    b = ended("b", [row(n, score=1.0, answer="no" if n == 0 else "yes") for n in range(12)])
    found = compare(a, b)
    assert (found.mean_a, found.mean_b) == (0.5, 1.0)
    assert (found.paired.gained, found.paired.lost) == (6, 0)
    assert found.paired.p_value == pytest.approx(2 * 0.5**6)
    assert [flip.id for flip in found.flips] == [f"s-{n:03}" for n in range(0, 12, 2)]
    assert (found.flips[0].said_a, found.flips[0].said_b) == ("yes", "no")
    json.dumps(found.document())


def test_only_samples_that_both_answered_are_compared(ended):
    a = ended("a", [row(1), row(2), row(3, score=None, error="HTTP 500: no")])
    b = ended("b", [row(2), row(3), row(4)])
    found = compare(a, b)
    assert found.paired.samples == 1
    assert (found.only_a, found.only_b) == (["s-001"], ["s-003", "s-004"])


def test_requests_that_differ_are_named(ended):
    a = ended("a", [row(1), row(2, request_sha256="aa"), row(3)])
    b = ended("b", [row(1, query="another"), row(2, request_sha256="bb"), row(3)])
    assert compare(a, b).asked_differently == ["s-001", "s-002"]


def test_repeats_count_by_their_mean(ended):
    a = ended("a", [row(1, score=0.0), row(1, sub_query_id=1, score=1.0), row(2)])
    b = ended("b", [row(1), row(1, sub_query_id=1), row(2)])
    found = compare(a, b)
    assert found.paired.samples == 2
    assert found.paired.difference == 0.25


def test_another_metric_by_name(ended):
    rows = [row(n, scores={"accuracy": 1.0, "strict": float(n % 2)}) for n in range(4)]
    assert compare(ended("a", rows), ended("b", rows), "strict").mean_a == 0.5
    with pytest.raises(ConfigurationError, match="no metric 'strickt'; its samples have: accuracy, strict"):
        compare(ended("a", rows), ended("b", rows), "strickt")


def test_the_samples_own_metric_is_taken_where_the_whole_is_called_differently(ended):
    rows = [row(n, score_name="includes", score=float(n % 2), scores={"includes": float(n % 2)}) for n in range(4)]
    assert compare(ended("a", rows), ended("b", rows)).metric == "includes"


def test_samples_of_another_part_of_a_group_do_not_count(ended):
    rows = [row(1), row(2, score_name="f1", scores={"f1": 0.5}, score=0.5)]
    assert compare(ended("a", rows), ended("b", rows)).paired.samples == 1


def test_settings_that_differ_are_named_and_folders_are_none(ended):
    found = compare(ended("a", [row(1)], temperature=0.0), ended("b", [row(1)], temperature=0.5))
    assert found.settings == [("config.params.temperature", 0.0, 0.5)]


def test_a_model_that_the_endpoint_chose_is_that_model(ended):
    a, b = ended("a", [row(1)]), ended("b", [row(1)])
    unnamed = dataclasses.replace(
        b, results={**b.results, "target": {"api_endpoint": {"url": "http://localhost:8080/v1"}}}, report={"model": "m"}
    )
    assert compare(a, unnamed).settings == []
    assert ("target.api_endpoint.model_id", "m", "n") in compare(
        a, dataclasses.replace(unnamed, report={"model": "n"})
    ).settings


def test_different_tasks_do_not_compare(ended):
    with pytest.raises(ConfigurationError, match="only one task compares"):
        compare(ended("a", [row(1)]), ended("b", [row(1)], task="other"))


def test_runs_without_a_shared_sample_do_not_compare(ended):
    with pytest.raises(ConfigurationError, match="share no sample"):
        compare(ended("a", [row(1)]), ended("b", [row(2)]))


def test_in_words_says_all_of_it_and_shortens_lists(ended):
    a = ended("a", [row(n, score=0.0) for n in range(30)], temperature=0.0)
    b = ended("b", [row(n, query="?") for n in range(30)] + [row(40)])
    text = "\n".join(in_words(compare(a, b), ("old", "new")))
    assert "old 0.0000, new 1.0000, over 30 samples of both" in text
    assert "30 better in new, 0 worse" in text
    assert "and 10 more" in text
    assert "answered by new alone (1): s-040" in text
    assert "setting config.params.temperature: 0.0 in old, None in new" in text


def test_one_shared_sample_has_no_interval(ended):
    assert "interval" not in in_words(compare(ended("a", [row(1)]), ended("b", [row(1)])))[1]
