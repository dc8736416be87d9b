import subprocess
import sys

import pytest
from pydantic import ValidationError

from harness import (
    ApiEndpoint,
    ConfigParams,
    EndpointModelConfig,
    EndpointType,
    EvaluationConfig,
    EvaluationTarget,
    JudgeConfig,
)
from harness.adapters.adapter_config import AdapterConfig, InterceptorConfig
from harness.errors import explain

URL = "http://localhost:8080/v1"


def mistakes(model, **values) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return explain(caught.value)


@pytest.mark.parametrize("model", [ApiEndpoint, EvaluationTarget, ConfigParams, EvaluationConfig, AdapterConfig])
def test_unknown_field_is_an_error(model):
    assert f"unknown field 'nonsense_xyz' of {model.__name__}" in mistakes(model, nonsense_xyz=1)


def test_unknown_field_suggests_the_nearest_name():
    assert "'limt_samples' of ConfigParams; did you mean 'limit_samples'?" in mistakes(ConfigParams, limt_samples=3)


def test_mistake_in_a_nested_field_is_named_with_its_path():
    text = mistakes(EvaluationConfig, type="smoke", params={"temperature": 99})
    assert text == "params.temperature: Input should be less than or equal to 2 (got 99)"


@pytest.mark.parametrize("value", [0, -5, 1.5, 0.0, -0.1, True, "many"])
def test_limit_samples_out_of_range_names_the_value(value):
    text = mistakes(ConfigParams, limit_samples=value)
    assert "limit_samples" in text
    assert repr(value) in text or str(value) in text


@pytest.mark.parametrize("value", [1, 100, 0.1, 1.0])
def test_limit_samples_keeps_its_kind(value):
    assert type(ConfigParams(limit_samples=value).limit_samples) is type(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_new_tokens", 0), ("max_retries", -1), ("parallelism", 0), ("temperature", -0.1), ("request_timeout", 0),
     ("top_p", 1.1)],
)  # fmt: skip
def test_parameters_have_ranges(field, value):
    text = mistakes(ConfigParams, **{field: value})
    assert field in text
    assert f"(got {value})" in text


def test_unknown_endpoint_type_suggests_the_nearest():
    text = mistakes(ApiEndpoint, url=URL, type="completion")
    assert "unknown endpoint type 'completion'; did you mean 'completions'?" in text


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://h:1", EndpointType.CHAT),
        ("http://h:1/v1", EndpointType.CHAT),
        ("http://h:1/v1/chat/completions/", EndpointType.CHAT),
        ("http://h:1/v1/completions", EndpointType.COMPLETIONS),
        ("http://h:1/v1/embeddings", EndpointType.EMBEDDING),
    ],
)
def test_type_comes_from_the_urls_suffix(url, kind):
    assert ApiEndpoint(url=url).speaks() is kind
    assert ApiEndpoint(url=url, type=EndpointType.UNDEFINED).speaks() is kind


def test_type_given_wins_over_the_url():
    assert ApiEndpoint(url=f"{URL}/completions", type=EndpointType.CHAT).speaks() is EndpointType.CHAT


@pytest.mark.parametrize("name", ["api_key", "api_key_name"])
def test_api_key_and_api_key_name_mean_the_same(name):
    endpoint = ApiEndpoint.model_validate({"url": URL, name: "API_KEY"})
    assert endpoint.api_key_name == "API_KEY"
    assert endpoint.model_dump(exclude_none=True) == {"url": URL, "api_key_name": "API_KEY"}


def test_two_different_key_names_are_refused():
    assert "api_key and api_key_name differ" in mistakes(ApiEndpoint, url=URL, api_key="A", api_key_name="B")


def test_a_pasted_key_is_refused_and_never_shown():
    with pytest.raises(ValidationError) as caught:
        EvaluationTarget.model_validate({"api_endpoint": {"url": URL, "api_key": "sk-secret-123"}})
    [line] = explain(caught.value).splitlines()
    assert "not the name of an environment variable" in line
    assert "sk-secret" not in explain(caught.value) + str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://h/v1", "http://", ""])
def test_unusable_url_is_named(url):
    assert f"url {url!r} is not an http URL" in mistakes(ApiEndpoint, url=url)


def test_url_with_a_password_is_refused_and_never_shown():
    text = mistakes(ApiEndpoint, url="http://me:hunter2@h/v1")
    assert "api_key_name" in text
    assert "hunter2" not in text


def test_interceptors_are_names_or_tables():
    config = AdapterConfig(interceptors=["caching", InterceptorConfig(name="request_logging", config={"max": 1})])
    assert config.model_dump()["interceptors"] == [
        "caching", {"name": "request_logging", "enabled": True, "config": {"max": 1}},
    ]  # fmt: skip


def test_importing_the_package_never_imports_the_proxy_and_writes_nothing(tmp_path):
    code = "import sys, harness, harness.launcher.cli; sys.exit(any(m.split('.')[0] == 'proxy' for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, cwd=tmp_path, check=False
    )
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://h/?key=sk-secret"},
        {"url": "http://h", "api_key_name": ["sk-secret"]},
        {"url": "http://h", "api_key": {"value": ["sk-secret"], "password": "sk-secret"}},
    ],
)
def test_a_mistake_is_shown_without_the_key_in_it(fields):
    with pytest.raises(ValidationError) as caught:
        ApiEndpoint.model_validate(fields)
    assert next(iter(set(fields) - {"url"}), "url") in explain(caught.value)
    assert "sk-secret" not in explain(caught.value) + str(caught.value)


def test_every_field_of_the_reference_system_is_taken():
    adapter = AdapterConfig.model_validate(
        {
            "mode": "server",
            "discovery": {"modules": [], "dirs": []},
            "interceptors": ["caching"],
            "post_eval_hooks": ["post_eval_report", {"name": "post_eval_report", "config": {"report_types": ["html"]}}],
            "endpoint_type": "completions",
            "log_failed_requests": True,
        }
    )
    endpoint = ApiEndpoint(url=URL, stream=False, adapter_config=adapter)
    assert endpoint.speaks() is EndpointType.COMPLETIONS
    config = EvaluationConfig(
        type="smoke", supported_endpoint_types=["vlm", "completions"], required_capabilities=["tools", "image_url"]
    )
    assert config.supported_endpoint_types == [EndpointType.CHAT, EndpointType.COMPLETIONS]
    model = EndpointModelConfig(model_id="m", url=URL, is_base_url=True, api_key_name="K", type="chat", stream=False)
    assert model.endpoint() == ApiEndpoint(url=URL, model_id="m", api_key_name="K", type=EndpointType.CHAT)


def test_the_old_name_of_a_chat_endpoint_is_taken():
    assert ApiEndpoint(url=URL, type="vlm").speaks() is EndpointType.CHAT


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (AdapterConfig, {"mode": "sevrer"}, "mode: Input should be 'server' or 'client' (got 'sevrer')"),
        (
            AdapterConfig,
            {"discovery": {"modules": ["mine"]}},
            "discovery.modules: discovery of 'mine' is not done: classes",
        ),
        (AdapterConfig, {"post_eval_hooks": ["mine"]}, "post_eval_hooks has 'mine'; run it yourself"),
        (
            AdapterConfig,
            {"use_cachin": True},
            "unknown field 'use_cachin' of AdapterConfig; did you mean 'use_caching'?",
        ),
        (
            AdapterConfig,
            {"use_caching": True, "interceptors": []},
            "'use_caching' is a flag of the older form, interceptors the newer one; keep one of them",
        ),
        (
            EvaluationConfig,
            {"type": "x", "required_capabilities": ["tool"]},
            "unknown capability 'tool'; did you mean 'tools'",
        ),
        (EvaluationConfig, {"type": "x", "supported_endpoint_types": ["caht"]}, "unknown endpoint type 'caht'"),
        (ConfigParams, {"extra": {"body": 1}}, "extra.body is 1; it takes a map of request fields"),
        (
            JudgeConfig,
            {"api_endpoint": {"url": URL}, "params": {"limit_samples": 3}},
            "limit_samples is a matter of the task",
        ),
        (
            EvaluationTarget,
            {"api_endpoint": {"url": URL}, "proxy": {"upstream": {"url": "http://x"}}},
            "proxy.upstream.url is given; the model server's URL is target.api_endpoint.url",
        ),
    ],
)
def test_what_cannot_be_honored_is_an_error_that_says_why(model, values, message):
    assert message in mistakes(model, **values)


def test_flat_flags_reach_the_sidecar_as_they_are():
    adapter = AdapterConfig.model_validate({"use_caching": False, "params_to_add": {"seed": 1}})
    assert adapter.settings() == {"use_caching": False, "params_to_add": {"seed": 1}}
    assert AdapterConfig.model_validate(adapter.model_dump()) == adapter
