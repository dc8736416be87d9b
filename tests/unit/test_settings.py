import os
from pathlib import Path
from typing import Any

import pytest

from proxy.settings import ConfigError, OfflineSettings, Settings, load_settings, secret

URL = "http://localhost:8080/v1"


@pytest.fixture(autouse=True)
def clean(monkeypatch) -> None:
    for name in list(os.environ):
        if name.startswith("EVALSIDE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path):
    def from_yaml(text: str = f"upstream: {{url: '{URL}'}}\n", **overrides: Any) -> Settings:
        path = tmp_path / "proxy.yaml"
        path.write_text(text)
        return load_settings(path, overrides)

    return from_yaml


def wrong(load, *args: Any, **overrides: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        load(*args, **overrides)
    return str(raised.value)


def test_command_line_over_environment_over_file_over_defaults(load, monkeypatch) -> None:
    text = "upstream: {url: 'http://file', model_id: file, namespace: file}\nmax_body_bytes: 5\nstore: 'sqlite:///f.db'"
    monkeypatch.setenv("EVALSIDE_UPSTREAM__URL", "http://env")
    monkeypatch.setenv("EVALSIDE_UPSTREAM__MODEL_ID", "env")
    monkeypatch.setenv("EVALSIDE_STORE", "sqlite:///e.db")
    settings = load(text, upstream={"url": "http://flag"})
    assert (settings.upstream.url, settings.upstream.model_id, settings.upstream.namespace) == (
        "http://flag",
        "env",
        "file",
    )
    assert (settings.store, settings.max_body_bytes, settings.log_level) == ("sqlite:///e.db", 5, "info")


def test_a_bare_start_finds_its_file_by_a_variable(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.yaml").write_text(f"upstream: {{url: '{URL}'}}")
    monkeypatch.setenv("EVALSIDE_CONFIG", str(tmp_path / "a.yaml"))
    assert load_settings().upstream.url == URL


def test_by_hand_nothing_is_read(monkeypatch) -> None:
    monkeypatch.setenv("EVALSIDE_STORE", "sqlite:///e.db")
    assert Settings(upstream={"url": URL}).store == "sqlite:///./.evalside/evalside.db"


def test_values_of_the_environment(load, monkeypatch) -> None:
    monkeypatch.setenv("EVALSIDE_UPSTREAM__TIMEOUT__IDLE", "null")
    monkeypatch.setenv("EVALSIDE_UPSTREAM__TIMEOUT__CONNECT", "2.5")
    monkeypatch.setenv("EVALSIDE_UPSTREAM__MODEL_ALIASES", '{"a": "b"}')
    monkeypatch.setenv("EVALSIDE_INTERCEPTORS", '["caching", {"name": "endpoint"}]')
    monkeypatch.setenv("EVALSIDE_RETENTION__LOG_MAX_BYTES", "")
    settings = load()
    assert (settings.upstream.timeout.idle, settings.upstream.timeout.connect) == (None, 2.5)
    assert settings.upstream.model_aliases == {"a": "b"}
    assert settings.interceptors is not None
    assert [spec.name for spec in settings.interceptors] == ["caching", "endpoint"]


def test_no_interceptors_and_no_key_differ(load) -> None:
    assert load().interceptors is None
    assert load(f"upstream: {{url: '{URL}'}}\ninterceptors: []").interceptors == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstraem: {url: x}", r"unknown key 'upstraem'; did you mean 'upstream'"),
        ("upstream: {url: x, modelid: y}", r"unknown key 'upstream.modelid'; did you mean 'model_id'"),
        ("upstream: {url: x, timeout: {idel: 1}}", r"unknown key 'upstream.timeout.idel'; did you mean 'idle'"),
        ("upstream: {url: x}\ninterceptors: [{name: a, confg: {}}]", r"'interceptors.0.confg'; did you mean 'config'"),
        ("upstream: {url: x}\ninterceptors: [{config: {}}]", r"'interceptors.0.name' is missing"),
        ("", r"'upstream.url' is missing; .*EVALSIDE_UPSTREAM__URL"),
        ("upstream: {model_id: x}", r"'upstream.url' is missing; .*EVALSIDE_UPSTREAM__URL"),
        ("upstream: {url: x}\nmax_body_bytes: many", r"'max_body_bytes' is 'many': .*integer"),
        ("upstream: {url: x, timeout: {idle: -1}}", r"'upstream.timeout.idle' is -1: .*greater than 0"),
        ("upstream: {url: x, namespace: ''}", r"'upstream.namespace' is '': write something, or leave it out"),
        ("upstream: {url: x, canary: ''}", r"'upstream.canary' is '': write something, or leave it out"),
        ("upstream: {url: x}\nlog_level: loud", r"'log_level' is 'loud': .*'debug'"),
        ("upstream: http://x", r"'upstream' is 'http://x': "),
        ("- a\n- b", r"must hold a mapping, for example 'upstream"),
        ("1: 2", r"must hold a mapping, for example 'upstream"),
        ("just text", r"must hold a mapping"),
        ("a: [1", r"is not YAML: .*line 1, column"),
        ("a: \x00", r"is not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_the_way_out(load, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"config file '.*none.yaml' cannot be read \(No such file.*--config"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"is a pipe, which can be read once.*; write it to a file"):
        load_settings(tmp_path / "pipe")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_settings(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("EVALSIDE_STOER", "EVALSIDE_STORE"),
        ("EVALSIDE_UPSTREAM__ULR", "EVALSIDE_UPSTREAM__URL"),
        ("EVALSIDE_UPSTREAM_URL", "EVALSIDE_UPSTREAM__URL"),
        ("EVALSIDE_TOKEN", "EVALSIDE_"),
    ],
)
def test_unknown_variables_are_errors_with_the_nearest_name(load, monkeypatch, name: str, nearest: str) -> None:
    monkeypatch.setenv(name, "x")
    assert f"unknown variable '{name}'; did you mean '{nearest}" in wrong(load)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVALSIDE_PORT", "tcp://10.0.0.1:4000"),
        ("EVALSIDE_SERVICE_HOST", "10.0.0.1"),
        ("EVALSIDE_SERVICE_PORT_HTTP", "4000"),
        ("EVALSIDE_PORT_4000_TCP_ADDR", "10.0.0.1"),
        ("EVALSIDE_PORT_4000_TCP", "tcp://10.0.0.1:4000"),
    ],
)
def test_variables_that_orchestrators_inject_are_none_of_ours(load, monkeypatch, name: str, value: str) -> None:
    without = load()
    monkeypatch.setenv(name, value)
    assert load() == without


def test_variables_that_name_keys_name_are_allowed(load, monkeypatch) -> None:
    for name in ("EVALSIDE_TOKEN", "EVALSIDE_KEY", "EVALSIDE_OTHER", "EVALSIDE_FOURTH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("EVALSIDE_AUTH__TOKEN_NAME", "EVALSIDE_TOKEN")
    monkeypatch.setenv("EVALSIDE_RETENTION", "{}")
    text = f"upstream: {{url: '{URL}', api_key_name: EVALSIDE_KEY}}\n"
    text += "interceptors: [{name: x, config: {webhook_token_name: EVALSIDE_OTHER}}]"
    assert "EVALSIDE_FOURTH" in wrong(load, text)
    monkeypatch.delenv("EVALSIDE_FOURTH")
    load(text)


@pytest.mark.parametrize("name", ["EVALSIDE_INTERCEPTORS", "EVALSIDE_UPSTREAM", "EVALSIDE_UPSTREAM__MODEL_ALIASES"])
def test_a_variable_that_is_not_json_is_named(load, monkeypatch, name: str) -> None:
    monkeypatch.setenv(name, "[caching")
    assert f"variable '{name}' is not JSON" in wrong(load)


def test_secrets(monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret-value\n")
    assert secret(None, "x") is None
    assert secret("MY_KEY", "x") == "s3cret-value"
    for value in ("", "  \n"):
        monkeypatch.setenv("MY_KEY", value)
        with pytest.raises(
            ConfigError, match=r"upstream.api_key_name: the environment variable 'MY_KEY' is not set; export"
        ):
            secret("MY_KEY", "upstream.api_key_name")
    monkeypatch.setenv("MY_KEY", "s3cret\r\nx: y")
    with pytest.raises(ConfigError, match="line breaks") as raised:
        secret("MY_KEY", "x")
    assert "s3cret" not in str(raised.value)


def test_a_key_in_place_of_a_name_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="takes the variable's name, never a key") as raised:
        secret("sk-live-123456", "upstream.api_key_name")
    assert "sk-live" not in str(raised.value)


def test_errors_show_no_secrets(load) -> None:
    message = wrong(load, f"upstream: {{url: '{URL}', api_key: hunter22}}")
    message += wrong(load, "interceptors: [{name: a, config: {Authorization: 'Bearer hunter22}}]")
    message += wrong(load, f"upstream: {{url: '{URL}', model_aliases: [{{password: hunter22}}]}}")
    assert "hunter22" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstream: {url: http://x}\nupstream: {url: http://y}", "'upstream' is there twice in one mapping .line 1."),
        ("upstream: http://x", "it takes a mapping of its own keys"),
        ("upstream: {url: http://x}\ninterceptors: caching", "it takes a list, for example .caching."),
    ],
)
def test_shapes_of_the_file_are_explained_in_its_own_terms(tmp_path, text, message) -> None:
    path = tmp_path / "proxy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(path)


def test_only_what_asks_a_model_server_needs_one(tmp_path, monkeypatch) -> None:
    assert load_settings(None, None, OfflineSettings).upstream is None
    with pytest.raises(ConfigError, match=r"'upstream\.url' is missing"):
        load_settings(None, {"upstream": {"namespace": "n"}}, OfflineSettings)
    monkeypatch.setenv("EVALSIDE_REPLAY", "a.evalside")
    assert load_settings().replay == Path("a.evalside")
