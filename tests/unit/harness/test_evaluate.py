import json

import pytest
import yaml

from harness import ApiEndpoint, ConfigParams, EndpointType, EvaluationConfig, EvaluationTarget, evaluate
from harness.errors import ConfigurationError, EndpointError, EvaluationError
from proxy.testing import Reply

CHAT = "/v1/chat/completions"
pytestmark = pytest.mark.usefixtures("standin")


def config(**values) -> EvaluationConfig:
    return EvaluationConfig(**{"type": "smoke", "output_dir": "out", **values})


def target(url: str, **values) -> EvaluationTarget:
    return EvaluationTarget(api_endpoint=ApiEndpoint(url=url, **values))


def test_a_run_goes_through_the_sidecar_and_leaves_its_files(server, said, tmp_path):
    server.on(CHAT, said("5"))
    result = evaluate(config(params=ConfigParams(limit_samples=6)), target(server.url), {"who": "me"})
    assert result.tasks["smoke"].metrics["accuracy"].scores["accuracy"].value == pytest.approx(1 / 6)
    document = yaml.safe_load((tmp_path / "out" / "results.yml").read_text())
    assert document["results"] == result.model_dump(mode="json", exclude_none=True)
    assert document["metadata"] == {"who": "me"}
    rows = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert {row["cache"] for row in rows} == {"miss"}
    assert (tmp_path / "out" / "sidecar.log").exists()


def test_completions_by_the_urls_suffix(server, said):
    server.on("/v1/completions", said("5"))
    evaluate(config(params=ConfigParams(limit_samples=1)), target(f"{server.url}", type=EndpointType.COMPLETIONS))
    assert [request.path for request in server.generation_requests] == ["/v1/completions"]


def test_without_an_output_dir_a_new_folder_is_made(server, said, tmp_path):
    server.on(CHAT, said("5"))
    evaluate(config(output_dir=None, params=ConfigParams(limit_samples=1)), target(server.url))
    [folder] = (tmp_path / "evalside-results").iterdir()
    assert folder.name.startswith("smoke-")
    assert (
        yaml.safe_load((folder / "results.yml").read_text())["config"]["output_dir"]
        == f"evalside-results/{folder.name}"
    )


def test_some_errors_are_counted_and_warned_about(server, said, refused, caplog):
    server.on("/v1/models", Reply(status=404))
    server.enqueue(refused(500))
    server.on(CHAT, said("5"))
    params = ConfigParams(limit_samples=3, parallelism=1)
    result = evaluate(config(params=params), target(server.url, model_id="m"))
    assert result.tasks["smoke"].metrics["errors"].scores["count"].value == 1
    assert "1 of 3 samples got no answer" in caplog.text


def test_no_answer_at_all_is_an_error_with_the_first_reason(server, refused, tmp_path):
    server.on(CHAT, refused(400, "model is required"))
    with pytest.raises(EvaluationError, match=r"none of the 2 samples got an answer; .* HTTP 400: model is required"):
        evaluate(config(params=ConfigParams(limit_samples=2)), target(server.url))
    assert (tmp_path / "out" / "samples.jsonl").exists()
    assert not (tmp_path / "out" / "results.yml").exists()


def test_an_unreachable_endpoint_says_what_to_do(server):
    server.stop()
    with pytest.raises(EndpointError, match="cannot be reached: connection refused\nCheck that the model server runs"):
        evaluate(config(), target(server.url))


@pytest.mark.parametrize(
    ("config_values", "target_values", "message"),
    [
        ({"type": "smoek"}, {}, "unknown task 'smoek'; did you mean 'smoke'"),
        ({}, {"type": "embedding"}, "'smoke' needs an endpoint of type chat or completions, not 'embedding'"),
        ({}, {"stream": True}, "stream: true, but task 'smoke' asks for plain answers"),
        ({"params": {"task": "other"}}, {}, "params.task is 'other', but the task is 'smoke'"),
        ({"params": {"extra": {"shots": 5}}}, {}, "takes no params.extra, but there is: shots"),
        ({}, {"api_key": "NO_SUCH_VARIABLE"}, "'NO_SUCH_VARIABLE', named by api_key_name, is not set"),
        ({"output_dir": "/dev/null/x"}, {}, "cannot make the output folder /dev/null/x"),
    ],
)
def test_what_cannot_be_run_as_configured_is_refused_before_anything_starts(
    config_values, target_values, message, tmp_path
):
    with pytest.raises(ConfigurationError, match=message):
        evaluate(config(**config_values), target("http://127.0.0.1:9", **target_values))
    assert list(tmp_path.iterdir()) == []
