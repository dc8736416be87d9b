"""Every block of the user's own document runs: with this project's names, against a model server of the test kit."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml
from typer.testing import CliRunner

from harness.api import ApiEndpoint, EndpointType
from harness.launcher.cli import run
from harness.proxy_process import Sidecar
from harness.tasks import _MAKERS
from harness.tasks.base import Grade, Sample, Task
from proxy.testing import ModelServer, Reply
from tests.docs.markdown import ROOT

DOCUMENT = (Path(__file__).with_name("manual-deployment.md.txt")).read_text()
SERVER = "http://localhost:8080"
BLOCKS = [
    (language, re.sub(r"^ {3}", "", text, flags=re.MULTILINE) if indent else text)
    for indent, language, text in re.findall(r"^( *)```(\w+)\n(.*?)^ *```$", DOCUMENT, re.MULTILINE | re.DOTALL)
]


class StandIn(Task):
    """A task of 20 questions in two subjects, in place of one whose data are large."""

    description = "a stand-in"
    score_name = "accuracy"
    endpoint_types = frozenset({EndpointType.CHAT, EndpointType.COMPLETIONS})

    def __init__(self, name: str) -> None:
        self.name = name

    def samples(self) -> list[Sample]:
        return [Sample(f"{self.name}-{n:02}", f"What is {n} plus 1?", (str(n + 1),), f"g{n % 2}") for n in range(20)]

    def request(self, sample: Sample, kind: EndpointType) -> dict[str, Any]:
        prompt = {"prompt": sample.query}
        chat = {"messages": [{"role": "user", "content": sample.query}]}
        return {**(prompt if kind is EndpointType.COMPLETIONS else chat), "temperature": 0, "max_tokens": 8}

    def grade(self, sample: Sample, text: str) -> Grade:
        return Grade(text, float(text in sample.accepted))


def stand_in(name: str, _options: Any) -> StandIn:
    return StandIn(name)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", "sk-of-the-users-document")
    for name in ("gsm8k", "mmlu_pro"):
        monkeypatch.setitem(_MAKERS, name, partial(stand_in, name))


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(answer="4") as running:
        running.on("/v1/triton_health", Reply(json={"status": "ok"}))
        yield running


@pytest.fixture(scope="module")
def sidecar(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("sidecar")
    with Sidecar(ApiEndpoint(url=server.url), log_path=folder / "log", store=folder / "evalside.db") as running:
        yield running


def evalside(*words: str) -> str:
    app = typer.Typer()
    app.command("run")(run)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output
    return result.output


def run_yaml(text: str, server: ModelServer) -> None:
    """A configuration, or a part of one for the user's own endpoint and task."""
    Path("config").mkdir()
    Path("config/manual_deployment.yaml").write_text(text)
    words = ["run", "--config-dir", "config", "--config-name", "manual_deployment", "-o"]
    words.append(f"target.api_endpoint.url={server.url}/v1/completions")
    document = yaml.safe_load(text)
    if "target" not in document:
        words += ["--api-key-name", "API_KEY", "-t", "gsm8k", "--limit-samples", "3"]
    evalside(*words)
    tasks = document.get("evaluation", {}).get("tasks") or [{"name": "gsm8k"}]
    for task in tasks:
        [file] = Path().glob(f"**/{task['name']}/results.yml")
        params = yaml.safe_load(file.read_text())["config"]["params"]
        wanted = {**document["evaluation"].get("overrides", {}), **task.get("overrides", {})}
        for key, value in wanted.items():
            assert params[key.removeprefix("config.params.")] == value
    check_requests(server)


def check_requests(server: ModelServer) -> None:
    """All of them went to the endpoint of the document, with its key."""
    assert {request.path for request in server.generation_requests} == {"/v1/completions"}
    sent = {request.header("authorization") for request in server.generation_requests}
    assert sent == {"Bearer sk-of-the-users-document"}


def run_python(text: str, server: ModelServer) -> None:
    code = text.replace("nemo_evaluator", "harness").replace(SERVER, server.url)
    names: dict[str, Any] = {"__name__": "users_script"}
    exec(compile(code, "manual-deployment.md", "exec", dont_inherit=True), names)
    assert names["results"].tasks["mmlu_pro"].metrics["accuracy"].scores["accuracy"].stats.count == 20
    check_requests(server)
    assert {request.json["model"] for request in server.generation_requests} == {"llama-3.1-8b"}
    adapted = "AdapterConfig" in text
    assert Path("cache").is_dir() == adapted


def run_bash(text: str, server: ModelServer, sidecar: Sidecar) -> None:
    joined = re.sub(r"\\\n\s*", "", text)
    for line in shell_commands(joined):
        words = shlex.split(line)
        if words[0] == "nemo-evaluator-launcher":
            places = {"packages/nemo-evaluator-launcher/examples": str(ROOT / "examples")}
            words = [places.get(word, word).replace(SERVER, server.url) for word in words[1:]]
            evalside(*words, "-o", "target.api_endpoint.api_key_name=API_KEY")
        elif words[0] == "curl":
            curl(words, server, sidecar)
        else:
            said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, env=os.environ)
            assert said.stdout.strip() == "sk-of-the-users-document"


def shell_commands(text: str) -> list[str]:
    """The commands of a block; a quoted text may go over several lines."""
    found: list[str] = []
    part = ""
    for line in text.splitlines():
        if not part and (not line.strip() or line.lstrip().startswith("#")):
            continue
        part += f"{line}\n"
        if part.count("'") % 2 == 0:
            found.append(part.strip())
            part = ""
    assert not part
    return found


def curl(words: list[str], server: ModelServer, sidecar: Sidecar) -> None:
    """Asks through the sidecar what the document asks the server; the answer is the server's own."""
    [url] = [word for word in words if word.startswith("http")]
    headers = dict(words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H")
    headers = {name: value.replace("YOUR_API_KEY", os.environ["API_KEY"]) for name, value in headers.items()}
    body = words[words.index("-d") + 1] if "-d" in words else None
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    through, straight = (
        httpx.request(method, url.replace(SERVER, base), headers=headers, content=body)
        for base in (sidecar.url, server.url)
    )
    assert (through.status_code, straight.status_code) == (200, 200), through.text
    assert through.content == straight.content or through.json()["choices"][0]["finish_reason"]


def run_json(text: str, server: ModelServer, sidecar: Sidecar) -> None:
    """A request is answered in the form of the document's answer, which has the fields that ours has."""
    document = json.loads(text)
    kind = "completions" if "prompt" in document or document.get("object") == "text_completion" else "chat/completions"
    requests = [json.loads(block) for language, block in BLOCKS if language == "json"]
    [request] = [each for each in requests if "choices" not in each and ("prompt" in each) == (kind == "completions")]
    headers = {"authorization": f"Bearer {os.environ['API_KEY']}"}
    answer = httpx.post(f"{sidecar.url}/v1/{kind}", json=request, headers=headers)
    assert answer.status_code == 200, answer.text
    if "choices" in document:
        assert document.keys() <= answer.json().keys()
        assert document["choices"][0].keys() <= answer.json()["choices"][0].keys()
        assert document["usage"].keys() <= answer.json()["usage"].keys()


def test_the_document_has_the_blocks_it_had() -> None:
    assert [language for language, _ in BLOCKS] == [
        "bash", "yaml", "python", "python", "bash", "bash", "json", "json", "json", "json", "bash", "bash", "yaml",
        "yaml",
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_block_runs(number: int, server: ModelServer, sidecar: Sidecar) -> None:
    language, text = BLOCKS[number]
    server.clear()
    if language == "yaml":
        run_yaml(text, server)
    elif language == "python":
        run_python(text, server)
    elif language == "json":
        run_json(text, server, sidecar)
    else:
        assert language == "bash", f"nothing runs a block of {language}"
        run_bash(text, server, sidecar)
