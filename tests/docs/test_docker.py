"""What can be said about the Docker files without a daemon."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "docker" / "Dockerfile", ROOT / "docker" / "lm-eval.Dockerfile"]
COMPOSE_FILES = sorted((ROOT / "docker").glob("compose*.yaml"))
BIN = Path(sys.executable).parent


class Instruction(NamedTuple):
    stage: int
    name: str
    text: str


def parse(dockerfile: Path) -> Iterator[Instruction]:
    """Instructions with their continuation lines joined; stages count from 0."""
    code = "\n".join(line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#"))
    stage = -1
    for line in re.sub(r"\\\n\s*", "", code).splitlines():
        name, _, text = line.partition(" ")
        stage += name == "FROM"
        if name:
            yield Instruction(stage, name, text)


def instructions(name: str, *, stage: int) -> list[str]:
    return [found.text for found in parse(DOCKERFILES[0]) if (found.stage, found.name) == (stage, name)]


def services(path: Path) -> dict:
    return yaml.safe_load(path.read_text())["services"]


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
class TestCompose:
    def test_is_valid_by_the_specification(self, path):
        check = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path]

        assert subprocess.run(check, check=False).returncode == 0

    def test_publishes_on_loopback_only(self, path):
        ports = [port for service in services(path).values() for port in service.get("ports", [])]

        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_the_sidecar_has_an_upstream_among_the_services_and_a_token(self, path):
        sidecar = services(path)["evalside"]
        environment = sidecar["environment"]
        upstream = re.fullmatch(r"http://([a-z]+):\d+/v1", environment["EVALSIDE_UPSTREAM__URL"])

        assert upstream
        assert sidecar["depends_on"] == {upstream[1]: {"condition": "service_healthy"}}
        assert "healthcheck" in services(path)[upstream[1]]
        assert environment[environment["EVALSIDE_AUTH__TOKEN_NAME"]].startswith("${EVALSIDE_TOKEN:?")
        assert json.loads(environment["EVALSIDE_ALLOWED_HOSTS"]) == ["evalside"]

    def test_builds_from_dockerfiles_that_exist(self, path):
        builds = [service["build"] for service in services(path).values() if "build" in service]

        assert all((path.parent / build["context"] / build["dockerfile"]).is_file() for build in builds)

    def test_its_variables_are_in_the_example(self, path):
        example = set(re.findall(r"^([A-Z_]+)=", (ROOT / "docker" / ".env.example").read_text(), re.MULTILINE))

        assert set(re.findall(r"\$\{([A-Z_]+)", path.read_text())) <= example


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
class TestDockerfile:
    def test_lints(self, path):
        assert subprocess.run([BIN / "hadolint", path], check=False).returncode == 0

    def test_pins_its_base_and_does_not_run_as_root(self, path):
        found = list(parse(path))

        assert all(re.match(r"python:3\.\d+\.\d+-slim-\w+", i.text) for i in found if i.name == "FROM")
        assert [i.text for i in found if i.name == "USER"] not in ([], ["root"])

    def test_copies_only_what_the_context_lets_in(self, path):
        allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        copied = {
            source.split("/")[0]
            for i in parse(path)
            if i.name == "COPY" and "--from" not in i.text
            for source in i.text.split()[:-1]
        }

        assert copied <= allowed
        assert all((ROOT / source).exists() for source in copied)


def test_image_leaves_authentication_to_the_operator():
    assert not [found for found in parse(DOCKERFILES[0]) if "EVALSIDE_AUTH" in found.text]


def test_image_listens_where_it_says():
    port = instructions("EXPOSE", stage=1)[0]

    assert json.loads(instructions("CMD", stage=1)[0])[-2:] == ["--port", port]
    assert f":{port}/-/live" in instructions("HEALTHCHECK", stage=1)[0]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def image(tmp_path):
    """A folder that stands for the image's file system: the build stage's COPY and RUN lines, applied to it."""
    source = tmp_path / "src"
    for text in instructions("COPY", stage=0):
        *names, target = text.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                destination = source / target / Path(name).name if target.endswith("/") else source / target
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, destination)
    for command in instructions("RUN", stage=0):
        here = command.replace("/opt/", f"{tmp_path}/opt/").replace("python ", f"{sys.executable} ")
        done = subprocess.run(here, shell=True, cwd=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_image_commands_work_in_clean_environments(image):
    port = str(free_port())
    healthcheck = re.sub(r".*?CMD ", "", instructions("HEALTHCHECK", stage=1)[0], count=1)
    start, check = (
        [argument.replace("4000", port) for argument in json.loads(command)]
        for command in (instructions("CMD", stage=1)[0], healthcheck)
    )
    environment = {
        "PATH": f"{image}/opt/evalside/bin{os.pathsep}{os.environ['PATH']}",
        "EVALSIDE_STORE": f"sqlite:///{image}/data/evalside.db",
        "EVALSIDE_UPSTREAM__URL": f"http://127.0.0.1:{free_port()}/v1",
        "EVALSIDE_AUTH__TOKEN_NAME": "EVALSIDE_TOKEN",
        "EVALSIDE_TOKEN": "a token",
    }

    with subprocess.Popen(start, cwd=image / "data", env=environment) as server:
        try:
            deadline = time.monotonic() + 30
            while (healthy := subprocess.run(check, env=environment, capture_output=True, check=False)).returncode:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, healthy.stderr.decode()
        finally:
            server.terminate()
    assert (image / "data" / "evalside.db").exists()
