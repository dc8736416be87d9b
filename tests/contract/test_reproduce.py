"""A stranger with a run's manifest and its bundle, and nothing else, gets the same scores, without a model."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from proxy.testing import ModelServer
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(180)

VOLATILE = {"exchange_id", "latency_ms", "cache"}
DRAWS = "-o evaluation.overrides.config.params.temperature=0.8 -o evaluation.overrides.config.params.limit_samples=12"


def alone(folder: Path) -> dict[str, str]:
    """The environment of somebody whose home is the folder, and who has set nothing."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}


def evalside(command: str, folder: Path) -> str:
    """What a command of the documentation prints, run in a folder."""
    words = shlex.split(command.removeprefix("evalside "))
    done = subprocess.run(
        [sys.executable, "-m", "proxy.cli", *words],
        cwd=folder,
        env=alone(folder),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "samples.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in VOLATILE} for line in lines]


def results(folder: Path) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((folder / "results.yml").read_text())["results"]
    return found


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/-/live")
    except urllib.error.URLError:
        return False
    return True


@pytest.mark.parametrize("sampling", ["", DRAWS], ids=["deterministic", "sampled"])
def test_scores_are_reproduced_from_manifest_and_bundle_alone(tmp_path, sampling):
    author, stranger = tmp_path / "author", tmp_path / "stranger"
    author.mkdir()
    stranger.mkdir()
    with ModelServer() as server:
        evalside(f"evalside run -t smoke --url {server.url}/v1 --output-dir out {sampling}", author)
        asked = len(server.generation_requests)
    [out] = {path.parent for path in author.rglob("manifest.json")}
    manifest = json.loads((out / "manifest.json").read_text())
    export, serve, run = manifest["reproduce"]
    evalside(export, author)

    for path in (out / "manifest.json", author / f"{manifest['run']}.evalside"):
        shutil.copy(path, stranger)
    author.rename(tmp_path / "gone")
    out = tmp_path / "gone" / out.relative_to(author)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = shlex.split(serve.removeprefix("evalside ").replace("4000", str(port)))
    replay = subprocess.Popen([sys.executable, "-m", "proxy.cli", *words], cwd=stranger, env=alone(stranger))
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}"), 60)
        evalside(f"{run.replace('4000', str(port))} --output-dir again", stranger)
    finally:
        replay.terminate()
        replay.wait()

    [again] = {path.parent for path in stranger.rglob("results.yml")}
    assert results(again) == results(out)
    assert rows(again) == rows(out)
    assert len(rows(again)) == asked
    told = json.loads((again / "manifest.json").read_text())
    assert told["versions"]["evalside"] == manifest["versions"]["evalside"]
