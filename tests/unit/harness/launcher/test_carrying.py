from pathlib import Path

from harness.external import environment
from proxy.testing import Reply

CHAT = "/v1/chat/completions"


def test_findings_name_their_task_where_there_are_several(evalside, server, standin):
    choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "5"}}
    server.on(CHAT, Reply(json={"choices": [choice]}))
    Path("run.yaml").write_text(
        "evaluation: {tasks: [smoke, native.smoke], overrides: {config.params.limit_samples: 2}}"
    )
    code, output = evalside("run", "--config", "run.yaml", "--url", server.url)
    assert code == 0, output
    assert "smoke: truncated: 2 of 2" in output
    assert "  smoke: the native task\n  smoke-2 is smoke: the native task\n" in output


def test_what_is_installed_for_another_harness_is_told_before_it_is(evalside, server, standin, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "_install", lambda *_args: None)
    monkeypatch.setattr("venv.create", lambda root, **_: root.mkdir())
    Path("run.yaml").write_text(
        "evaluation: {tasks: [command.mine], overrides: {config.params.extra: "
        "{command: 'false', requirements: [a==1]}}}"
    )
    words = ["run", "--config", "run.yaml", "--url", server.url, "--model-id", "m"]
    code, output = evalside(*words)
    assert code == 1
    assert "command.mine: installing a==1 first, once; this may take minutes" in output
    assert "installing" not in evalside(*words)[1]
