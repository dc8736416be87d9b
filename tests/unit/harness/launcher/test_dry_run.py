import pytest

from proxy.testing import ModelServer

FILE = """
target:
  api_endpoint:
    url: http://127.0.0.1:9/v1
    api_key_name: MY_KEY
    adapter_config:
      interceptors:
        - name: payload_modifier
          config: {headers_to_add: {X-Api-Key: sk-literal-123456}}
judge: {api_endpoint: {url: "http://127.0.0.1:10/v1", model_id: j}}
evaluation: {tasks: [smoke]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", "sk-of-the-environment")
    (tmp_path / "run.yaml").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize("flag", ["-n", "--dry-run"])
def test_all_of_it_is_told_and_nothing_is_done(folder, evalside, flag):
    code, output = evalside("run", "-c", "run.yaml", flag, "--limit-samples", "3")
    assert code == 0
    for part in (
        "# The composed configuration",
        "# Task smoke, in the sidecar's run <id>.smoke. smoke: the native task",
        "limit_samples: 3",
        "# The sidecar of smoke: evalside serve --with-parent --config",
        "# The sidecar of smoke's judge",
        "api_key_name: MY_KEY",
        "X-Api-Key: '[redacted]'",
        "# Nothing was started, asked or written.",
    ):
        assert part in output
    assert "sk-" not in output
    assert [path.name for path in folder.iterdir()] == ["run.yaml"]


def test_the_command_of_a_deployment_is_shown(folder, evalside):
    words = ["run", "-n", "-t", "smoke", "-o", "deployment=llamacpp", "-o", "deployment.extra_args=[--x]"]
    code, output = evalside(*words)
    assert code == 0, output
    assert "-m harness.deployments.llamacpp --port '<free port>' --alias smollm2" in output
    assert "--x\n# is waited for at /health or /v1/triton_health or /v1/models, for 1800 s." in output


def test_it_fails_where_a_run_would(folder, evalside, monkeypatch):
    monkeypatch.delenv("MY_KEY")
    code, output = evalside("run", "-c", "run.yaml", "-n")
    assert code == 2
    assert "the environment variable 'MY_KEY', named by api_key_name, is not set" in output


def test_no_request_is_sent(folder, evalside):
    with ModelServer() as server:
        evalside("run", "-n", "-t", "smoke", "--url", server.url)
        assert server.requests == []
