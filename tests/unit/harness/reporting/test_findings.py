import pytest

from harness.errors import ConfigurationError
from harness.reporting.findings import NAMES, Finding, Thresholds, of_samples, of_sidecar
from tests.unit.harness.reporting.made import row


def found(rows):
    return {each.finding: each for each in of_samples(rows)}


def test_a_clean_run_has_no_findings():
    assert of_samples([row(number) for number in range(20)]) == []


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"error": "HTTP 500: no", "score": None}, "failed"),
        ({"error": "HTTP 429: slow down", "score": None}, "rate_limited"),
        ({"attempts": 2}, "retried"),
        ({"finish_reason": "length"}, "truncated"),
        ({"finish_reason": "content_filter"}, "filtered"),
        ({"generation": " \n"}, "empty"),
        ({"generation": "<think>well, let us see"}, "unclosed_reasoning"),
        ({"generation": "<think>a</think>b <think>c"}, "unclosed_reasoning"),
        ({"unparsed": ["accuracy"]}, "unparsed"),
    ],
)
def test_each_way_to_spoil_a_score_is_told_with_its_share_and_an_example(fields, name):
    told = found([row(1), row(2), row(3), row(4, **fields)])
    assert told[name].count == 1
    assert told[name].examples == ("s-004",)
    assert told[name].share == 1 / told[name].of
    assert f"1 of {told[name].of}" in told[name].text


def test_what_counts_among_answers_leaves_out_those_that_failed():
    told = found([row(1, finish_reason="length"), row(2, error="HTTP 500: no", score=None)])
    assert (told["truncated"].count, told["truncated"].of) == (1, 1)
    assert (told["failed"].count, told["failed"].of) == (1, 2)


def test_reasoning_that_ended_is_no_finding():
    assert found([row(1, generation="<think>a</think>b")]) == {}


def test_a_metric_that_could_not_be_read_beside_the_main_one_is_no_finding():
    assert found([row(1, unparsed=["strict"])]) == {}


def test_equal_answers_are_told_from_ten_samples_on_and_above_half():
    same = [row(number, generation="42") for number in range(6)]
    assert "identical" not in found(same)
    told = found(same + [row(number) for number in range(10, 15)])["identical"]
    assert (told.count, told.of) == (6, 11)
    assert "'42'" in told.text
    assert "identical" not in found(same + [row(number) for number in range(10, 16)])


def test_empty_answers_are_not_told_twice():
    assert set(found([row(number, generation="") for number in range(12)])) == {"empty"}


def test_a_long_equal_answer_is_shown_shortened():
    assert "x" * 61 not in found([row(number, generation="x" * 100) for number in range(10)])["identical"].text


def test_the_most_frequent_comes_first():
    rows = [row(1, finish_reason="length"), row(2, finish_reason="length"), row(3, attempts=2)]
    assert [each.finding for each in of_samples(rows)] == ["truncated", "retried"]


def test_the_sidecar_tells_of_429s_retries_changes_and_its_own_findings():
    change = {"interceptor": "normalize", "on": "request", "field": "seed", "what": "removed", "why": "unsupported"}
    summary = {
        "statistics": {"count": 10, "status_codes": {"200": 7, "429": 3}, "retries": 2},
        "changes": [{**change, "requests": 9, "of": 10}, {**change, "on": "answer", "requests": 1, "of": 10}],
        "findings": [{"finding": "mixed_identity", "count": 2, "text": "Two servers answered."}],
    }
    told = {each.finding: each for each in of_sidecar(summary)}
    assert told["upstream_rate_limited"].share == 0.3
    assert told["upstream_retries"].count == 2
    assert told["changed"].text == "9 of 10 requests had seed removed by normalize: unsupported."
    assert told["sidecar:mixed_identity"].text == "Two servers answered."
    assert len(told) == 4


def test_a_change_that_was_configured_needs_no_reason():
    change = {"interceptor": "drop_params", "on": "request", "field": "seed", "what": "removed", "why": "configured"}
    (told,) = of_sidecar({"changes": [{**change, "requests": 1, "of": 1}]})
    assert told.text == "1 of 1 requests had seed removed by drop_params."


def test_a_sidecar_that_said_nothing_has_no_findings():
    assert of_sidecar({}) == []


def test_a_threshold_fails_what_is_above_it():
    thresholds = Thresholds.read(["truncated=0.1", "failed", "sidecar:mixed_identity"])
    at, above = Finding("truncated", 1, 10, "t"), Finding("truncated", 2, 10, "Cut.")
    assert thresholds.exceeded([at, Finding("empty", 5, 5, "e")]) == []
    assert thresholds.exceeded([above]) == ["truncated is 20.0%, above the 10.0% allowed: Cut."]
    assert len(thresholds.exceeded([Finding("failed", 1, 100, "f")])) == 1


@pytest.mark.parametrize("text", ["truncated=2", "truncated=x", "truncated=", "truncated=-1", "truncated=nan"])
def test_a_threshold_is_a_share(text):
    with pytest.raises(ConfigurationError, match="share from 0 to 1"):
        Thresholds.read([text])


def test_an_unknown_finding_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'truncated'"):
        Thresholds.read(["trunkated=0.1"])


def test_names_are_all_the_findings_of_the_module():
    assert len(set(NAMES)) == len(NAMES)
    assert {"failed", "identical", "changed", "upstream_rate_limited", "upstream_retries"} <= set(NAMES)


def test_a_finding_without_a_whole_exceeds_every_threshold():
    thresholds = Thresholds.read(["sidecar:losses=0.5", "sidecar:other"])
    found = [Finding("sidecar:losses", 3, 0, "Three are lost."), Finding("sidecar:other", 0, 0, "None.")]
    assert thresholds.exceeded(found) == ["sidecar:losses was found: Three are lost."]


def test_a_finding_without_a_whole_has_no_share():
    assert Finding("x", 3, 0, "t").document() == {
        "finding": "x", "count": 3, "of": 0, "text": "t", "examples": [], "share": 0.0,
    }  # fmt: skip
