import os
import signal
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from proxy import __version__
from proxy import cli as cli_module
from proxy.testing import ModelServer
from tests.unit.serving import ROOT, Serving, environment, run


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def test_version() -> None:
    result = CliRunner().invoke(cli_module.app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"evalside {__version__}\n")


def test_check_prints_the_effective_pipeline_without_secrets(tmp_path) -> None:
    (tmp_path / "proxy.yaml").write_text(
        "upstream: {url: 'http://localhost:8080/v1/chat/completions', api_key_name: KEY}\n"
        "interceptors:\n- caching\n- name: payload_modifier\n"
        "  config: {headers_to_add: {Authorization: Bearer hunter22}}\n"
    )
    result = run(tmp_path, "check", "--config", "proxy.yaml", KEY="s3cret-value")
    assert result.returncode == 0, result.stderr
    assert result.stdout.index("payload_modifier") < result.stdout.index("endpoint") < result.stdout.index("caching")
    assert "http://localhost:8080/v1" in result.stdout
    assert "hunter22" not in result.stdout + result.stderr
    assert "s3cret-value" not in result.stdout + result.stderr
    assert not (tmp_path / ".evalside").exists()


def test_check_shows_options_as_they_could_be_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "proxy.yaml").write_text(
        "upstream: {url: 'http://x'}\n"
        "interceptors:\n- {name: system_message, config: {system_message: 'Answer in [red] or [/blue].'}}\n"
    )
    result = CliRunner().invoke(cli_module.app, ["check", "--config", str(tmp_path / "proxy.yaml")])
    assert result.exit_code == 0
    assert '"system_message": "Answer in [red] or [/blue].", "strategy": "prepend", "separate": false}' in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstream: {url: 'ftp://x'}", "is not an http(s) URL"),
        ("upstream: {url: 'http://me:hunter22@x'}", "holds credentials"),
        ("upstream: {url: 'http://x', api_key_name: NO_SUCH}", "variable 'NO_SUCH' is not set"),
        ("upstream: {url: 'http://x'}\nstore: postgresql://x", "PostgreSQL is not supported yet"),
        ("upstream: {url: 'http://x'}\ninterceptors: [cahcing]", "did you mean 'caching'"),
        ("upstraem: {}", "did you mean 'upstream'"),
        ("", "'upstream.url' is missing"),
    ],
)
def test_check_says_what_is_wrong_and_exits_2(tmp_path, monkeypatch, text: str, message: str) -> None:
    for name in [name for name in os.environ if name.startswith("EVALSIDE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "proxy.yaml").write_text(text)
    result = CliRunner().invoke(cli_module.app, ["check", "--config", str(tmp_path / "proxy.yaml")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "hunter22" not in result.output + result.stderr


def test_a_taken_port_is_a_message(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(tmp_path, "serve", "-u", "http://x", "--port", port)
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use; choose another --port" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bind_beyond_loopback_needs_a_token(tmp_path) -> None:
    result = run(tmp_path, "serve", "-u", "http://x", "--host", "0.0.0.0")
    assert result.returncode == 2
    assert "no client token is configured; set auth.token_name" in result.stderr
    with socket.create_server(("0.0.0.0", 0)) as listener:
        command = [sys.executable, "-m", "proxy.cli", "serve", "-u", "http://x", "--fd", str(listener.fileno())]
        inherited = subprocess.run(
            command, cwd=tmp_path, env=environment(), pass_fds=[listener.fileno()], capture_output=True, check=False
        )
    assert inherited.returncode == 2
    assert b"no client token" in inherited.stderr


@pytest.mark.parametrize(("fd", "message"), [("99", "is not a socket"), ("1", "is not a socket")])
def test_a_descriptor_that_is_no_listener_is_a_message(tmp_path, fd: str, message: str) -> None:
    result = run(tmp_path, "serve", "-u", "http://x", "--fd", fd)
    assert (result.returncode, message in result.stderr) == (2, True)


def test_a_store_that_cannot_be_used_is_a_message(tmp_path) -> None:
    (tmp_path / "b.db").write_text("no database " * 100)
    result = run(tmp_path, "serve", "-u", "http://x", "--port", "0", EVALSIDE_STORE="sqlite:///b.db")
    assert result.returncode == 2
    assert "b.db is not usable (file is not a database); move it aside" in result.stderr
    assert "Traceback" not in result.stderr


def test_serve_answers_and_ends_on_sigterm(tmp_path, server) -> None:
    with Serving(tmp_path, server.url) as serving:
        assert [serving.ask(), serving.ask()] == ["miss", "hit"]
        code, errors = serving.end()
    assert code in (0, -signal.SIGTERM)
    assert serving.url in errors
    assert "Traceback" not in errors


def test_workers_share_one_store(tmp_path, server) -> None:
    with Serving(tmp_path, server.url, "--workers", "2") as serving:
        assert serving.ask() == "miss"
        serving.get("/-/runs")
        for number in range(20):
            serving.ask(seed=number)
        for number in range(20):
            serving.ask(seed=number)
        code, errors = serving.end()
    assert (code, "Traceback" in errors) == (0, False)
    import sqlite3

    connection = sqlite3.connect(tmp_path / ".evalside" / "evalside.db")
    assert connection.execute("SELECT count(*) FROM responses").fetchone()[0] == 21
    assert connection.execute("SELECT count(*) FROM exchanges").fetchone()[0] == 41
    connection.close()


def test_a_broken_command_of_another_package_is_only_a_warning(tmp_path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[evalside.commands]\nbroken = no_such_module:run\nhi = hi_module:hi\n")
    (tmp_path / "hi_module.py").write_text("def hi() -> None:\n    print('hello')\n")
    result = run(tmp_path, "hi", PYTHONPATH=f"{ROOT}:{tmp_path}")
    assert (result.returncode, result.stdout) == (0, "hello\n")
    assert "warning: command 'broken' (no_such_module:run) cannot be loaded" in result.stderr


def test_mock_server_needs_the_key_it_names() -> None:
    result = CliRunner().invoke(cli_module.app, ["mock-server", "--api-key-name", "NO_SUCH"])
    assert result.exit_code == 2
    assert "'NO_SUCH' is not set" in result.stderr


def test_a_sidecar_in_front_of_itself_is_refused(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = run(tmp_path, "serve", "-u", f"http://localhost:{port}/v1", "--port", str(port))
    assert result.returncode == 2
    assert "is this sidecar's own address" in result.stderr
