"""The presets of servers that need a GPU: their command lines, and what becomes of them, with programs of their names.

Each stand-in takes what the real program's parser takes of what a preset says (vllm 0.33, sglang 0.5, transformers 5),
refuses anything else as that does, keeps what it was called with, and becomes the mock server.
"""

import json
import os
import stat
import sys
from pathlib import Path

import httpx
import pytest

from harness.deployments.command import Deployed
from harness.errors import StartError
from harness.execution import begin, carry_out
from harness.launcher.compose import Source, compose
from harness.launcher.config import Wanted, make_plan
from harness.runs.database import Runs
from proxy.testing import ModelServer

PARSERS = {
    "vllm": """
serve = parser.add_subparsers(required=True).add_parser("serve")
serve.add_argument("model_tag", nargs="?")
serve.add_argument("--host")
serve.add_argument("--port", type=int, default=8000)
serve.add_argument("--served-model-name", nargs="+")
serve.add_argument("--max-model-len", type=int)
""",
    "sglang": """
parser.add_argument("-m", choices=["sglang.launch_server"], required=True)
parser.add_argument("--model-path", "--model", required=True)
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=30000)
parser.add_argument("--served-model-name")
parser.add_argument("--context-length", type=int)
""",
    "transformers": """
serve = parser.add_subparsers(required=True).add_parser("serve")
serve.add_argument("force_model", nargs="?")
serve.add_argument("--host", default="localhost")
serve.add_argument("--port", type=int, default=8000)
serve.add_argument("--device")
""",
}
PROGRAM = """#!{python}
import argparse, json, os, sys
parser = argparse.ArgumentParser(prog="{name}")
{parser}
found = parser.parse_args()
json.dump({{"argv": sys.argv[1:], "env": os.environ.get("OF_THE_DEPLOYMENT")}}, open("called.json", "w"))
print("loading weights", flush=True)
served = getattr(found, "served_model_name", None) or "org/model"
name = served[0] if isinstance(served, list) else served
server = [sys.executable, "-m", "proxy.cli", "mock-server", "--port", str(found.port), "--model", name]
os.execv(sys.executable, server)
"""
NAMES = {"vllm": "vllm", "sglang": "python3", "transformers": "transformers"}
"""What the program of a preset is called."""
EXTRA = {
    "vllm": ["--max-model-len", "8192"],
    "sglang": ["--context-length", "8192"],
    "transformers": ["--device", "cpu"],
}


def write_program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture(params=PARSERS)
def preset(request, tmp_path, monkeypatch):
    """A preset whose program is on PATH, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    name = NAMES[request.param]
    write_program(
        tmp_path / "bin", name, PROGRAM.format(python=sys.executable, name=name, parser=PARSERS[request.param])
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return request.param


def planned(preset, *overrides):
    document = compose(Source(), [f"deployment={preset}", "deployment.model=org/model", *overrides])
    return make_plan(document, Wanted(["smoke"], {"config.params.limit_samples": 2}), Path("out"))


def deployment(preset, *overrides):
    made = planned(preset, *overrides).deployment
    assert made is not None
    return made


def test_its_program_takes_the_command_line_is_waited_for_and_stopped(preset, tmp_path):
    made = deployment(
        preset, f"deployment.extra_args={json.dumps(EXTRA[preset])}", "deployment.env={OF_THE_DEPLOYMENT: 'yes'}"
    )
    with Deployed(made, log_path=tmp_path / "log") as deployed:
        endpoint = deployed.endpoint()
        assert (endpoint.url, endpoint.model_id) == (f"{deployed.url}/v1", "org/model")
        [model] = httpx.get(f"{endpoint.url}/models").json()["data"]
        assert model["id"] == "org/model"
        called = json.loads((tmp_path / "called.json").read_text())
        assert called["argv"][-2:] == EXTRA[preset]
        assert called["argv"][called["argv"].index("--port") + 1] == deployed.url.rpartition(":")[2]
        assert called["env"] == "yes"
    with pytest.raises(httpx.ConnectError):
        httpx.get(deployed.url)


@pytest.mark.parametrize("preset", ["vllm", "sglang"], indirect=True)
def test_the_model_may_be_served_by_another_name(preset, tmp_path):
    with Deployed(deployment(preset, "deployment.served_model_name=mine"), log_path=tmp_path / "log") as deployed:
        assert deployed.endpoint().model_id == "mine"
        assert httpx.get(f"{deployed.url}/v1/models").json()["data"][0]["id"] == "mine"


def test_a_word_that_its_program_does_not_know_is_shown_as_it_says_it(preset, tmp_path):
    made = deployment(preset, "deployment.extra_args=[--no-such-flag]")
    with (
        pytest.raises(StartError, match=r"stopped at start with exit code 2(.*\n)*.*unrecognized arguments: --no-such"),
        Deployed(made, log_path=tmp_path / "log"),
    ):
        pass


def test_one_that_fails_while_it_loads_is_told_of_with_the_end_of_its_log(preset, tmp_path):
    failing = "#!/bin/sh\nfor n in $(seq 30); do echo layer $n; done\necho 'out of memory' >&2\nexit 9\n"
    write_program(tmp_path / "bin", NAMES[preset], failing)
    with pytest.raises(StartError) as failed, Deployed(deployment(preset), log_path=tmp_path / "log"):
        pass
    message = str(failed.value)
    assert f"the model server ({NAMES[preset]} " in message
    assert "stopped at start with exit code 9" in message
    assert message.endswith("  | out of memory")
    assert "layer 12" in message
    assert "layer 1\n" not in message


@pytest.mark.parametrize("preset", ["vllm"], indirect=True)
def test_one_that_never_answers_is_given_up_and_ended(preset, tmp_path):
    silent = "#!/bin/sh\necho $$ > pid\necho still loading\nexec sleep 600\n"
    write_program(tmp_path / "bin", NAMES[preset], silent)
    made = deployment(preset, "deployment.start_timeout=10")
    with (
        pytest.raises(
            StartError, match=r"did not answer at .*/health or .*/v1/models in 10 s(.*\n)*  \| still loading"
        ),
        Deployed(made, log_path=tmp_path / "log"),
    ):
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_port_that_another_server_has_is_no_server_of_this_run(preset, tmp_path):
    with ModelServer() as other:
        port = other.url.rpartition(":")[2]
        with (
            pytest.raises(StartError, match=rf"port {port} is taken.*deployment.port"),
            Deployed(deployment(preset, f"deployment.port={port}"), log_path=tmp_path / "log"),
        ):
            pass
    assert not (tmp_path / "called.json").exists()


def test_a_program_that_is_not_there_is_named(preset, tmp_path):
    made = deployment(preset, "deployment.executable=no-such-program")
    with (
        pytest.raises(StartError, match=r"cannot start 'no-such-program': No such file .*; install it, or write its"),
        Deployed(made, log_path=tmp_path / "log"),
    ):
        pass


def test_a_run_goes_through_it_and_it_is_gone_afterwards(preset):
    plan = planned(preset)
    with Runs() as runs:
        ended = carry_out(runs, begin(runs, "r1", plan, Path("out"), by="run"))
        [job] = runs.jobs(runs.find("r1"))
        log = runs.log_path("r1").read_text()
    assert ended.finished["smoke"].tally.done == 2
    assert (job.state, job.model_id) == ("success", "org/model")
    url = log.partition("the model server answers at ")[2].split()[0]
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert "loading weights" in Path("out/deployment.log").read_text()
