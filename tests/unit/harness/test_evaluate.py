import json

import pytest
import yaml

from harness import (
    ApiEndpoint,
    ConfigParams,
    EndpointType,
    EvaluationConfig,
    EvaluationTarget,
    asker,
    evaluate,
    evaluate_async,
)
from harness.adapters.adapter_config import AdapterConfig
from harness.errors import ConfigurationError, EndpointError, EvaluationError
from harness.runs.database import Runs
from harness.tasks.smoke import SmokeTask
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
    assert [path.name for path in tmp_path.iterdir() if path.name != ".evalside"] == []


def test_every_call_is_a_run_of_its_own_and_can_be_gone_on_with(server, said, tmp_path):
    server.on(CHAT, said("5"))
    params = ConfigParams(limit_samples=3)
    first = evaluate(config(params=params), target(server.url), run_id="mine")
    with Runs() as runs:
        [run] = runs.all()
        assert (run.id, run.state, run.began_by) == ("mine", "success", "evaluate")
    assert evaluate(config(params=params), target(server.url), run_id="mine") == first
    evaluate(config(params=params), target(server.url))
    with Runs() as runs:
        assert len(runs.all()) == 2


def test_a_call_that_was_broken_off_goes_on_where_it_was(server, said, refused):
    server.enqueue(*[said("5")] * 3, refused(401, "no"))
    params = ConfigParams(limit_samples=5, parallelism=1)
    with pytest.raises(EndpointError):
        evaluate(config(params=params), target(server.url, model_id="m"), run_id="mine")
    asked = len(server.generation_requests)
    server.on(CHAT, said("5"))
    result = evaluate(config(params=params), target(server.url, model_id="m"), run_id="mine")
    assert len(server.generation_requests) == asked + 5 - 3
    assert result.tasks["smoke"].metrics["accuracy"].scores["accuracy"].stats.count == 5


def test_the_run_of_another_task_is_not_gone_on_with(server, said, tmp_path):
    server.on(CHAT, said("5"))
    evaluate(config(params=ConfigParams(limit_samples=1)), target(server.url), run_id="mine")
    (tmp_path / "own.yaml").write_text('data: rows.jsonl\nprompt: "{{ question }}"\n')
    (tmp_path / "rows.jsonl").write_text('{"question": "a", "target": "b"}\n')
    with pytest.raises(ConfigurationError, match="run 'mine' is of smoke, not of 'own'; leave run_id out"):
        evaluate(config(type="./own.yaml"), target(server.url), run_id="mine")


async def test_it_runs_where_a_loop_runs_already(server, said):
    server.on(CHAT, said("5"))
    params = ConfigParams(limit_samples=1)
    there = await evaluate_async(config(params=params), target(server.url))
    assert evaluate(config(params=params), target(server.url)) == there
    with pytest.raises(ConfigurationError, match="unknown task"):
        evaluate(config(type="nothing"), target(server.url))


def test_parameters_and_fields_of_ones_own_are_in_every_request(server, said):
    server.on(CHAT, said("5"))
    params = ConfigParams(limit_samples=1, temperature=0.5, top_p=0.9, max_new_tokens=3, extra={"body": {"seed": 7}})
    evaluate(config(params=params), target(server.url))
    [request] = server.generation_requests
    assert {name: request.json[name] for name in ("temperature", "top_p", "max_tokens", "seed")} == {
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 3, "seed": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "said_", "message"),
    [({"request_timeout": 0.2}, 5.0, r"no answer within 0.2 s \(params.request_timeout\); raise it")],
)
def test_a_timeout_says_what_to_do(server, said, params, said_, message):
    server.on(CHAT, said("5", delay=said_))
    with pytest.raises(EvaluationError, match=message):
        evaluate(config(params=ConfigParams(limit_samples=1, max_retries=0, **params)), target(server.url))


@pytest.mark.parametrize(
    ("config_values", "target_values", "message"),
    [
        (
            {"supported_endpoint_types": ["completions"]},
            {},
            r"types allows completions, but .* 'chat'",
        ),
        (
            {"required_capabilities": ["tools"]},
            {},
            r"names 'tools', and nobody probed this endpoint; run `evalside probe",
        ),
        ({"type": "lm-eval.hellaswag"}, {}, r"'lm-eval\.hellaswag' needs an endpoint of type completions, not 'chat'"),
        ({"type": "bfcl.parallel", "params": ConfigParams(top_p=0.5)}, {}, "bfcl cannot be told top_p"),
        ({"type": "lm-eval.gsm8k", "params": ConfigParams(extra={"fewshot": 1})}, {}, "no option 'fewshot'"),
        (
            {},
            {"adapter_config": AdapterConfig(mode="client")},
            r"adapter_config\.mode is 'client', which harness\.client",
        ),
    ],
)
def test_fields_of_the_reference_system_are_honored_or_refused(config_values, target_values, message):
    with pytest.raises(ConfigurationError, match=message):
        evaluate(config(**config_values), target("http://127.0.0.1:9", **target_values))


def test_a_silent_endpoint_and_a_wrong_key_are_found_before_the_first_sample(server, refused, monkeypatch):
    server.on("/v1/models", refused(401, "who are you"))
    with pytest.raises(EndpointError, match=r"the endpoint refuses the key \(401\): who are you") as failed:
        evaluate(config(), target(f"{server.url}/v1?api_key=sk-0123456789"))
    assert str(failed.value).endswith(f"\nThe endpoint's URL is {server.url}/v1?api_key=[redacted].")
    monkeypatch.setattr(asker, "_LIST_TIMEOUT_S", 0.2)
    server.on("/v1/models", Reply(json={}, delay=5))
    with pytest.raises(EndpointError, match=r"does not answer GET /v1/models within 0\.2 s"):
        evaluate(config(), target(server.url))
    assert server.generation_requests == []


def test_a_mistake_in_a_tasks_code_is_told_as_it_is(server, said, monkeypatch):
    def grade(*_):
        raise ZeroDivisionError("in the task")

    monkeypatch.setattr(SmokeTask, "grade", grade)
    server.on(CHAT, said("5"))
    with pytest.raises(ZeroDivisionError, match="in the task"):
        evaluate(config(params=ConfigParams(limit_samples=2)), target(server.url), run_id="mine")
    with Runs() as runs:
        assert runs.find("mine").state == "failed"
