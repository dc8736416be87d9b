import json
import math
import stat
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.adapters.adapter_config import AdapterConfig, InterceptorConfig
from harness.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationResult, EvaluationTarget
from harness.records import SampleRecord
from harness.redact import Redactor
from harness.results import (
    Report,
    command_line,
    score_stats,
    task_result,
    write_results,
    write_samples,
)

RECORD = SampleRecord(
    id="a", sub_query_id=0, query="What?", generation="5", ground_truth=["5"], answer="5", score=1.0,
    score_name="accuracy", num_prompt_tokens=7, num_generated_tokens=1, finish_reason="stop", cache="miss",
    exchange_id="e", latency_ms=1.5, attempts=1, error=None,
)  # fmt: skip
FAILED = replace(RECORD, id="b", generation=None, answer=None, score=None, error="HTTP 500: no")


@pytest.fixture
def make_report(tmp_path):
    def make(metadata=None, **endpoint):
        config = EvaluationConfig(type="smoke", output_dir=tmp_path, params=ConfigParams(limit_samples=2))
        target = EvaluationTarget(api_endpoint=ApiEndpoint(url="http://h:1/v1", **endpoint))
        result = EvaluationResult(tasks={"smoke": task_result([RECORD, FAILED], "accuracy")})
        return Report(config, target, result, metadata or {})

    return make


def test_statistics_of_scores():
    scores = [1.0, 0.0, 1.0, 1.0]
    stats = score_stats(scores)
    assert (stats.count, stats.sum, stats.sum_squared, stats.min, stats.max, stats.mean) == (4, 3, 3, 0, 1, 0.75)
    assert stats.variance == statistics.pvariance(scores)
    assert stats.stddev == pytest.approx(statistics.pstdev(scores))
    assert stats.stderr == pytest.approx(statistics.stdev(scores) / math.sqrt(4))


def test_statistics_of_one_score_and_of_none():
    assert (score_stats([1.0]).stderr, score_stats([1.0]).mean) == (None, 1.0)
    assert score_stats([]).model_dump(exclude_none=True) == {"count": 0}


def test_a_sample_without_an_answer_counts_as_an_error_and_in_no_score():
    metrics = task_result([RECORD, FAILED], "accuracy").metrics
    assert (metrics["accuracy"].scores["accuracy"].value, metrics["accuracy"].scores["accuracy"].stats.count) == (
        1.0,
        1,
    )
    assert metrics["errors"].scores["count"].value == 1


def test_results_have_exactly_the_keys_of_the_reference(make_report, tmp_path):
    path = write_results(tmp_path, make_report({"who": "me"}, api_key="MY_KEY"))
    document = yaml.safe_load(path.read_text())
    assert list(document) == ["git_hash", "command", "config", "target", "results", "metadata"]
    assert document["target"] == {"api_endpoint": {"url": "http://h:1/v1", "api_key_name": "MY_KEY"}}
    assert document["config"]["params"] == {"limit_samples": 2, "extra": {}}
    assert document["results"]["tasks"]["smoke"]["metrics"]["accuracy"]["scores"]["accuracy"]["value"] == 1.0
    assert document["metadata"] == {"who": "me"}


def test_results_parse_back(make_report, tmp_path):
    report = make_report()
    document = yaml.safe_load(write_results(tmp_path, report).read_text())
    assert EvaluationResult.model_validate(document["results"]) == report.result
    assert EvaluationConfig.model_validate(document["config"]) == report.config
    assert EvaluationTarget.model_validate(document["target"]) == report.target


def test_secrets_never_reach_the_results(make_report, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-env")
    adapter = AdapterConfig(interceptors=[
        InterceptorConfig(name="payload_modifier", config={"params_to_add": {"api_key": "sk-1", "max_tokens": 5}}),
        InterceptorConfig(name="progress_tracking", config={"url": "http://h/?token=sk-2&run=3"}),
    ])  # fmt: skip
    report = make_report({"Authorization": "Bearer sk-3"}, adapter_config=adapter, api_key_name="MY_KEY")
    text = write_results(tmp_path, report).read_text()
    assert "sk-" not in text
    assert "max_tokens: 5" in text
    assert "run=3" in text


def test_a_key_known_by_value_is_in_no_file(make_report, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "value-0123456789")
    report = make_report({"note": "it is value-0123456789"}, api_key_name="MY_KEY", model_id="m-value-0123456789")
    results = write_results(tmp_path, report).read_text()
    leaking = replace(RECORD, generation="value-0123456789", error="refused value-0123456789", query="http://h/?key=1")
    samples = write_samples(tmp_path, [leaking], Redactor.of(report.target)).read_text()
    assert "value-0123456789" not in results + samples
    assert yaml.safe_load(results)["metadata"] == {"note": "it is [redacted]"}
    row = json.loads(samples)
    assert (row["generation"], row["error"]) == ("[redacted]", "refused [redacted]")
    assert row["query"] == "http://h/?key=1"  # a task's own text is no configuration


def test_samples_are_sorted_private_json_lines(tmp_path):
    path = write_samples(tmp_path, [FAILED, replace(RECORD, sub_query_id=1), RECORD], Redactor())
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["id"], row["sub_query_id"]) for row in rows] == [("a", 0), ("a", 1), ("b", 0)]
    assert set(rows[0]) == set(SampleRecord.__dataclass_fields__)
    assert rows[2]["error"] == "HTTP 500: no"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_earlier_file_and_no_rest(tmp_path, monkeypatch):
    path = write_samples(tmp_path, [RECORD], Redactor())
    before = path.read_bytes()

    def full(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_samples(tmp_path, [FAILED], Redactor())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_asks_the_same_again():
    config = EvaluationConfig(
        type="smoke", output_dir=Path("a b"), params=ConfigParams(limit_samples=0.5, parallelism=2)
    )
    target = EvaluationTarget(api_endpoint=ApiEndpoint(url="http://h/v1/completions", model_id="m", api_key="K"))
    assert command_line(config, target, Redactor()) == (
        "evalside run -t smoke --url http://h/v1/completions --type completions --model-id m --api-key-name K "
        "--output-dir 'a b' --limit-samples 0.5 --parallelism 2"
    )
