import json
import stat

import pytest
import yaml

from harness.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget
from harness.launcher.compose import Source, compose
from harness.launcher.config import Wanted, make_plan
from harness.processes import Process
from harness.records import SampleRecord
from harness.redact import Redactor
from harness.reporting.sidecar import SidecarFacts
from harness.reporting.writing import Material, write_reports, write_run_config
from tests.unit.harness.reporting.made import results, row


def material(*rows, sidecar=None, redactor=None):
    document = {"git_hash": "", "command": "c", "config": {}, "target": {}, "results": results()}
    records = [SampleRecord(**each) for each in rows]
    return Material(
        "quiz", "r.quiz", document, records, sidecar or SidecarFacts(), [Process("r", 1.0, 2.0)],
        redactor or Redactor(), data=[{"dataset": "d"}],
    )  # fmt: skip


def test_files_agree_and_findings_are_of_samples_and_sidecar(tmp_path):
    change = {"interceptor": "x", "on": "request", "field": "seed", "what": "removed", "why": "configured"}
    sidecar = SidecarFacts({"changes": [{**change, "requests": 1, "of": 2}]}, {"fingerprint": "f"})
    rows = [row(1, cache="hit"), row(2, error="HTTP 500: no", score=None)]
    found = write_reports(tmp_path, material(*rows, sidecar=sidecar))
    assert [each.finding for each in found] == ["failed", "changed"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["samples"] == {"asked": 2, "answered": 1, "from_cache": 1}
    assert manifest["data"] == [{"dataset": "d"}]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["manifest"] == manifest
    assert [each["finding"] for each in report["findings"]] == ["failed", "changed"]
    assert json.loads((tmp_path / "eval_factory_metrics.json").read_text())["evaluation"]["runtime_seconds"] == 1.0
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == 0o600


def test_no_secret_reaches_a_file(tmp_path):
    made = material(row(1, generation="my key is key-123456"), redactor=Redactor(["key-123456"]))
    write_reports(tmp_path, made)
    assert all("key-123456" not in path.read_text() for path in tmp_path.iterdir())


@pytest.mark.parametrize("text", ["${x} and $y", r"a \${x}", r"\\${x}", r"plain $z \d", "$limit"])
def test_texts_of_the_run_config_come_back_as_they_were(tmp_path, text):
    config = EvaluationConfig(type="smoke", params=ConfigParams(extra={"command": text, "list": [text]}))
    target = EvaluationTarget(api_endpoint=ApiEndpoint(url="http://h"))
    composed = compose(Source(file=write_run_config(tmp_path, config, target, Redactor())), ())
    [task] = composed["evaluation"]["tasks"]
    assert task["overrides"]["config.params"]["extra"] == {"command": text, "list": [text]}


def test_names_with_dots_come_back_from_the_run_config(tmp_path):
    """As of the tasks that ask for them: `evalside run --config run_config.yml` asks the same again."""
    extra = {"body": {"logit.bias": {"1.5": 1}}, "a.b": "c"}
    config = EvaluationConfig(type="smoke", params=ConfigParams(extra=extra))
    proxy = {"upstream": {"model_aliases": {"gpt-4.1": "m"}}}
    target = EvaluationTarget(api_endpoint=ApiEndpoint(url="http://h"), proxy=proxy)
    composed = compose(Source(file=write_run_config(tmp_path, config, target, Redactor())), ())
    [task] = make_plan(composed, Wanted(), tmp_path).tasks
    assert task.config.params.extra == extra
    assert task.target.proxy == proxy


def test_the_run_config_is_the_launchers_and_holds_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-0123456789")
    headers = {"X-Api-Key": "sk-0123456789"}
    adapter = {"interceptors": [{"name": "payload_modifier", "config": {"headers_to_add": headers}}]}
    endpoint = ApiEndpoint.model_validate({"url": "http://h:1/v1", "api_key_name": "MY_KEY", "adapter_config": adapter})
    config = EvaluationConfig(type="smoke", params=ConfigParams(limit_samples=3, temperature=0.0))
    target = EvaluationTarget(api_endpoint=endpoint, proxy={"strict": True})
    path = write_run_config(tmp_path, config, target, Redactor.of(config, target))
    assert "sk-0123456789" not in path.read_text()
    document = yaml.safe_load(path.read_text())
    assert document["target"]["api_endpoint"]["api_key_name"] == "MY_KEY"
    assert document["evaluation"]["tasks"] == [
        {"name": "smoke", "overrides": {"config.params": {"limit_samples": 3, "temperature": 0.0}}}
    ]
    assert document["proxy"] == {"strict": True}
