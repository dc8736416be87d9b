"""Every fenced example of the documentation is run, or at least taken by the part that would run it."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from harness.api import ApiEndpoint
from harness.errors import ConfigurationError
from harness.launcher import config as launch
from harness.launcher.compose import Source, compose
from harness.proxy_process import Sidecar
from proxy import legacy
from proxy.app import create_app
from proxy.dialects.loading import read
from proxy.house import make_plan
from proxy.settings import Settings, load_settings
from proxy.testing import ASGIExchange, ModelServer, lifespan
from tests.docs.markdown import DOCS, ROOT, Fence, fences, section
from tests.docs.test_command_line import commands

GUIDE = DOCS / "howto" / "write-an-interceptor.md"
SHELL = ["", "sh", "bash"]


def cases(found: list[Fence]) -> list:
    return [pytest.param(fence, id=str(fence)) for fence in found]


def shell_lines(*programs: str) -> list:
    """Every command line of an example that begins with one of these programs, continuation lines joined."""
    found = []
    for fence in fences(*SHELL):
        for line in re.sub(r"\\\n\s*", "", fence.text).splitlines():
            words = line.split()
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)
            if words and words[0] in programs:
                found.append(pytest.param(line, id=f"{fence}: {line[:40]}"))
    return found


@pytest.mark.parametrize("kind", [["yaml"], ["json"], ["python"], SHELL])
def test_there_are_examples(kind):
    assert fences(*kind)  # or a test of them would be skipped without a word


@pytest.mark.parametrize("program", ["evalside", "make", "curl", "uvicorn"])
def test_there_are_command_lines(program):
    assert shell_lines(program)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No setting of the shell, and a folder of its own."""
    for name in [name for name in os.environ if name.startswith("EVALSIDE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def seed_plugin(monkeypatch, environment):
    """The guide's files, in the working directory."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for fence in fences("python"):
        if fence.path == GUIDE:
            Path(fence.mark).write_text(fence.text)
    yield
    sys.modules.pop("seed", None)


def test_the_interceptor_of_the_guide_is_as_short_as_it_says(seed_plugin):
    lines = [line for line in Path("seed.py").read_text().splitlines() if line]

    assert len(lines) <= 20


def test_the_interceptor_of_the_guide_keeps_the_contract(seed_plugin):
    [command] = re.findall(r"`(pytest [^`]+)`", section(GUIDE, "## Test it"))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", *shlex.split(command), "-p", "no:cacheprovider", "-q"]

    done = subprocess.run(program, env=env, capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    "fence", cases([fence for fence in fences("yaml") if not fence.mark.startswith(("task ", "run"))])
)
def test_yaml_is_a_configuration_that_starts(fence, tmp_path, monkeypatch, seed_plugin):
    for named in re.findall(r"token_name: (\w+)", fence.text):
        monkeypatch.setenv(named, "a-token-for-examples")
    path = tmp_path / "proxy.yaml"
    path.write_text(fence.text)
    for example in fences("toml"):
        if example.path == fence.path:
            (tmp_path / "lab.toml").write_text(example.text)

    plan = make_plan(load_settings(path))

    document = yaml.safe_load(fence.text)
    if set(document) & legacy.FLAT:
        return  # the next test compares it with what it becomes
    assert set(document) <= plan.settings.model_fields_set
    listed = [item if isinstance(item, dict) else {"name": item} for item in document.get("interceptors", [])]
    options = {entry.name: set(entry.options) for entry in plan.entries}
    for item in listed:
        assert (item["name"] in options) == item.get("enabled", True)
        assert item["name"] not in options or set(item.get("config", {})) <= options[item["name"]]


def test_flat_flags_are_the_pipeline_that_the_page_says(tmp_path):
    pages = [fence for fence in fences("yaml") if fence.path.name == "flat-flags.md"]
    for number, fence in enumerate(pages):
        (tmp_path / f"{number}.yaml").write_text(fence.text)

    flat, newer = (make_plan(load_settings(tmp_path / f"{number}.yaml")) for number in range(2))

    assert set(yaml.safe_load(pages[0].text)) & legacy.FLAT
    assert (flat.fingerprint, flat.settings.interceptors) == (newer.fingerprint, newer.settings.interceptors)


@pytest.mark.parametrize("fence", cases([fence for fence in fences("toml") if fence.path != GUIDE]))
def test_toml_is_a_dialect(fence):
    assert read(fence.text, str(fence)).name == "lab"


@pytest.mark.parametrize("fence", cases([fence for fence in fences("yaml") if fence.mark == "run"]))
def test_a_configuration_of_the_launcher_makes_a_plan(fence, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(fence.text)
    document = compose(Source(file=path))
    written = yaml.safe_load(fence.text)
    if "target" not in written and "deployment" not in written:
        document["target"] = {"api_endpoint": {"url": "http://localhost:8080/v1"}}
    tasks = [] if (written.get("evaluation") or {}).get("tasks") else ["smoke"]

    plan = launch.make_plan(document, launch.Wanted(tasks), tmp_path / "out")

    assert len(plan.tasks) == len((written.get("evaluation") or {}).get("tasks") or tasks)
    assert written.keys() - {"defaults"} <= document.keys()


def test_the_example_that_ships_names_what_has_to_be_given(tmp_path):
    examples = ROOT / "examples"
    for path in examples.glob("*.yaml"):
        with pytest.raises(ConfigurationError, match=r"target\.api_endpoint\.url: required"):
            compose(Source(examples, path.stem))
        document = compose(Source(examples, path.stem), ["target.api_endpoint.url=http://localhost:8080/v1"])
        assert launch.make_plan(document, launch.Wanted(), tmp_path).tasks


def test_the_interceptor_of_the_guide_does_what_it_says(tmp_path, seed_plugin):
    [example] = [fence for fence in fences("yaml") if fence.mark == "plugin"]

    async def ask(app, body):
        headers = [(b"host", b"localhost")]
        async with ASGIExchange(app, "POST", "/v1/completions", headers, [json.dumps(body).encode()]) as exchange:
            return (await exchange.start()).status

    async def main(server):
        document = yaml.safe_load(example.text) | {
            "upstream": {"url": server.url},
            "store": f"sqlite:///{tmp_path}/x.db",
        }
        app = create_app(Settings.model_validate(document))
        async with lifespan(app):
            assert await ask(app, {"prompt": "a"}) == 200
            assert await ask(app, {"prompt": "a", "seed": 3}) == 200
        return [request.json["seed"] for request in server.generation_requests]

    import asyncio

    with ModelServer() as server:
        assert asyncio.run(main(server)) == [7, 3]


@pytest.mark.parametrize(
    "block", cases([fence for fence in fences("json") if "…" not in fence.text and not fence.mark.endswith(".jsonl")])
)
def test_json_is_json(block):
    assert json.loads(block.text), "an empty document is no example"


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[tuple[ModelServer, Sidecar]]:
    """A model server that says "4" and a sidecar in front of it."""
    folder = tmp_path_factory.mktemp("examples")
    with (
        ModelServer(answer="4") as server,
        Sidecar(ApiEndpoint(url=server.url), log_path=folder / "sidecar.log", store=folder / "evalside.db") as sidecar,
    ):
        yield server, sidecar


@pytest.mark.parametrize("fence", cases([fence for fence in fences("python") if fence.path != GUIDE]))
def test_python_runs(fence, running, tmp_path):
    server, sidecar = running
    code = fence.text.replace("http://localhost:4000", sidecar.url).replace("http://localhost:8080", server.url)
    script = tmp_path / "example.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", shell_lines("evalside"))
def test_evalside_takes_the_command_line(line):
    words = shlex.split(line, comments=True)[1:]
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    words = words[words.index("evalside") + 1 :] if "evalside" in words else words
    words = words[: words.index("|")] if "|" in words else words
    known = commands()
    length = 2 if " ".join(words[:2]) in known else 1
    name, arguments = " ".join(words[:length]), words[length:]

    command = known[name]
    context = command.make_context(name, arguments)  # parses; raises what the command line would say

    written = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    told = [option for option in command.params if context.get_parameter_source(option.name).name == "COMMANDLINE"]
    assert {flag for option in told for flag in option.opts if flag in written} == written
    assert context.args == []


@pytest.mark.parametrize("line", shell_lines("make"))
def test_make_has_the_target(line):
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert shlex.split(line, comments=True)[1] in targets


@pytest.mark.parametrize("line", shell_lines("curl"))
def test_curl_gets_an_answer(line, running):
    _, sidecar = running
    words = shlex.split(line)
    [url] = [word for word in words if word.startswith("http")]
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if "-d" in words else "GET"
    url = url.replace("http://localhost:4000", sidecar.url)
    body = words[words.index("-d") + 1] if "-d" in words else None

    answer = httpx.request(method, url, content=body)

    assert answer.status_code == 200, answer.text


def test_the_request_of_the_tutorial_is_first_a_miss_then_a_hit(tmp_path):
    lines = [case.values[0] for case in shell_lines("curl") if str(case.id).startswith("docs/tutorial.md")]
    [line] = [line for line in lines if "-d" in line]
    words = shlex.split(line)
    with (
        ModelServer() as server,
        Sidecar(ApiEndpoint(url=server.url), log_path=tmp_path / "log", store=tmp_path / "evalside.db") as sidecar,
    ):
        url = f"{sidecar.url}/v1/chat/completions"
        answers = [httpx.post(url, content=words[words.index("-d") + 1]) for _ in range(2)]
        sampled = [httpx.post(url, json={"messages": [{"role": "user", "content": "a"}]}) for _ in range(2)]
    assert [answer.headers["x-evalside-cache"] for answer in answers] == ["miss", "hit"]
    assert [answer.headers["x-evalside-cache"] for answer in sampled] == ["miss", "miss"]


@pytest.mark.parametrize("line", shell_lines("uvicorn"))
def test_uvicorn_is_given_variables_that_are_settings(line, monkeypatch):
    given: dict[str, str] = {}
    for word in shlex.split(line):
        if match := re.fullmatch(r"(EVALSIDE_\w+)=(.*)", word):
            given[match[1]] = match[2]
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    settings = make_plan(load_settings()).settings

    assert given
    for name, value in given.items():
        found: Any = settings
        for key in name.removeprefix("EVALSIDE_").lower().split("__"):
            found = getattr(found, key)
        assert found == value


def test_every_variable_named_in_the_docs_exists():
    known = {*cli_variables(), "EVALSIDE_TOKEN", "EVALSIDE_PORT", "EVALSIDE_SERVICE_HOST", "EVALSIDE_SERVICE_"}
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"EVALSIDE_\w+", page.read_text())}

    assert named
    assert named <= known


def cli_variables() -> set[str]:
    from proxy.settings import CONFIG_VARIABLE, PREFIX, _variables

    return {*_variables(Settings, PREFIX), CONFIG_VARIABLE}


def test_every_path_of_the_tests_named_in_the_architecture_exists():
    named = re.findall(r"`(tests/[\w/.]+)`", (DOCS / "architecture.md").read_text())

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_module_named_in_the_architecture_exists_and_every_package_is_named():
    named = set(re.findall(r"`((?:proxy|harness)\.\w+)`", section(DOCS / "architecture.md", "## The packages")))
    packages = {
        ".".join(path.parent.parts[-2:]) for top in ("proxy", "harness") for path in ROOT.glob(f"{top}/*/__init__.py")
    }
    assert packages
    assert packages - named == set()
    paths = [ROOT / Path(*name.split(".")) for name in named]

    assert [path for path in paths if not path.is_dir() and not path.with_suffix(".py").exists()] == []
