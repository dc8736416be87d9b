import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from proxy.commands.probe import file_name
from proxy.testing import Reply
from proxy.wire.profile import Profile, Verdict, read_profile

KEY = "sk-a-key-of-some-length"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def probe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **more: str) -> Done:
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        done = CliRunner().invoke(app, ["probe", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


def profile_of(url: str, model: str | None) -> Profile:
    return Profile("vllm", url, None, "", model, None, None)


def test_a_probe_prints_a_table_and_keeps_a_profile(probe, model_server, tmp_path):
    server = model_server()
    done = probe("--upstream", server.url, "--route", "server", "--route", "chat")
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / ".evalside" / "profiles").iterdir()
    assert path.name == f"127.0.0.1-{server.port}-mock-model.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"the profile is in .evalside/profiles/{path.name}" in done.stderr
    profile = read_profile(path.read_bytes())
    assert profile.verdict("chat.n") is Verdict.SUPPORTED
    assert re.search(r"n_usage +supported +two choices of 5 tokens each, completion_tokens 10", done.stdout)
    assert re.search(r"unknown_model +ignored +a typo in the model's name goes unseen: asked", done.stdout)
    assert re.search(r"generation +chat", done.stdout)


def test_json_is_the_profile(probe, model_server, tmp_path):
    server = model_server()
    done = probe("-u", server.url, "--route", "server", "--json", "-o", "here/profile.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.encode() == (tmp_path / "here" / "profile.json").read_bytes()
    assert json.loads(done.stdout)["capabilities"]["server.models"]["verdict"] == "supported"


def test_a_profile_is_replaced_and_private_all_the_same(probe, model_server, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text("x" * 100_000)
    path.chmod(0o644)
    assert probe("-u", model_server().url, "--route", "server", "-o", str(path)).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read_profile(path.read_bytes())


def test_the_configuration_names_server_model_and_key(probe, model_server, tmp_path):
    server = model_server(api_key=KEY)
    (tmp_path / "proxy.yaml").write_text(
        f"upstream: {{url: '{server.url}', model_id: named, api_key_name: THE_KEY, namespace: mine}}\n"
    )
    done = probe("--config", "proxy.yaml", "--route", "chat", "--json", THE_KEY=KEY)
    assert done.returncode == 0, done.stderr
    profile = read_profile(done.stdout.encode())
    assert (profile.model, profile.identity) == ("named", "mine")
    assert profile.supports("chat.auth")
    assert KEY not in done.stdout + done.stderr
    assert "the server lists other models too (mock-model)" in done.stderr


def test_flags_outrank_the_configuration(probe, model_server, tmp_path):
    server = model_server(api_key=KEY)
    (tmp_path / "proxy.yaml").write_text("upstream: {url: 'http://nowhere.invalid', model_id: named}\n")
    arguments = ["-c", "proxy.yaml", "-u", server.url, "--model", "other", "--api-key-name", "THE_KEY", "--json"]
    done = probe(*arguments, "--route", "chat", THE_KEY=KEY)
    assert read_profile(done.stdout.encode()).model == "other"


def test_nothing_to_evaluate_is_exit_code_1_and_a_profile_all_the_same(probe, model_server, tmp_path):
    server = model_server()
    for path in ("/v1/chat/completions", "/v1/completions"):
        server.on(path, Reply(501, json={"error": {"message": "embeddings only"}}))
    done = probe("-u", server.url)
    assert done.returncode == 1
    assert "error: nothing can be evaluated here: chat does not work (501: embeddings only)" in done.stderr
    assert list((tmp_path / ".evalside" / "profiles").iterdir())


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(503, json={"error": {"message": "\x1b[2J"}}), r"503: \\x1b\[2J;"),
        (Reply(401, json={"error": {"message": f"not {KEY}"}}), r"401: not \[redacted\]; the key is not accepted"),
        (Reply(503, json={"error": {"message": "Loading model"}}), "is not ready: 503: Loading model"),
    ],
)
def test_what_cannot_be_probed_is_exit_code_1_and_no_profile(probe, model_server, tmp_path, reply, message):
    server = model_server()
    server.on("/v1/models", reply)
    done = probe("-u", server.url, "--api-key-name", "THE_KEY", THE_KEY=KEY)
    assert done.returncode == 1
    assert re.search(message, done.stderr)
    assert not (tmp_path / ".evalside").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "'upstream.url' is missing; set it in the YAML file, as EVALSIDE_UPSTREAM__URL, or with --upstream"),
        (["-u", "localhost:8080"], "is not an http"),
        (["-u", "http://h", "--api-key-name", "NO_SUCH_KEY"], "the environment variable 'NO_SUCH_KEY' is not set"),
        (["-u", "http://h", "--route", "chatt"], "there is no route 'chatt'; did you mean 'chat'?"),
        (["-u", "http://h", "--timeout", "0"], "--timeout"),
        (["-c", "no-such.yaml"], "config file 'no-such.yaml' cannot be read"),
    ],
)
def test_wrong_usage_is_exit_code_2(probe, arguments, message):
    done = probe(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_profile_that_cannot_be_written_is_an_error(probe, model_server, tmp_path):
    (tmp_path / "file").write_text("")
    done = probe("-u", model_server().url, "--route", "server", "-o", "file/profile.json")
    assert done.returncode == 2
    assert "the profile cannot be written to 'file/profile.json'" in done.stderr


@pytest.mark.parametrize(
    ("url", "model", "name"),
    [
        ("http://localhost:8080/v1", "org/Model 7B", "localhost-8080-org-Model-7B.json"),
        ("https://api.example.com/v1", None, "api.example.com.json"),
        ("http://[::1]:1/v1", "../../etc/passwd", "1-1-etc-passwd.json"),
        ("http://h/base/v1", "m" * 300, "h-base-" + "m" * 173 + ".json"),
    ],
)
def test_file_names_are_harmless(url, model, name):
    assert file_name(profile_of(url, model)) == name
    assert Path(name).name == name
