"""The user's own document: its blocks, and what runs each of them."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import typer
import yaml
from typer.testing import CliRunner

from harness.launcher.cli import run
from tests.docs.markdown import ROOT

DOCUMENT = Path(__file__).with_name("manual-deployment.md.txt").read_text()
ORIGINAL = ROOT.parent / "shared" / "seed" / "manual-deployment.md"
"""Where the document may be beside the repository."""
SERVER = "http://localhost:8080"
KEY = "sk-of-the-users-document"
_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})\s*(?P<info>[^\n`]*)$")
_CODE = {"bash", "yaml", "python", "json"}


class Block(NamedTuple):
    """One fenced block, without its indentation."""

    language: str
    text: str


def blocks_of(document: str) -> list[Block]:
    """Every fenced block, whatever its fence and language. Raises AssertionError for one that is never closed."""
    found: list[Block] = []
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in document.splitlines():
        fence = _FENCE.match(line)
        if opened is None:
            opened, lines = fence, []
        elif fence and not fence["info"].strip() and fence["fence"].startswith(opened["fence"]):
            found.append(Block(opened["info"].strip(), "".join(lines)))
            opened = None
        else:
            lines.append(line.removeprefix(opened["indent"]) + "\n")
    assert opened is None, f"a block is never closed: {opened}"
    return found


BLOCKS = blocks_of(DOCUMENT)


@dataclass(frozen=True)
class Place:
    """What the blocks run against: a model server, a sidecar in front of it, and how much is asked.

    `flags` are further words of `evalside run`, `params` stand for `limit_samples=100` in Python, `limits` are the
    samples that a task then has. `check` looks whether a run went to the server. `lacks` are paths that it has not.
    """

    server: str
    sidecar: str
    check: Callable[[], None]
    flags: tuple[str, ...] = ()
    params: str = "limit_samples=100"
    limit: int | None = None
    lacks: frozenset[str] = frozenset()

    def run(self, block: Block) -> None:
        """Runs a block. Raises AssertionError for a language that nothing runs."""
        assert block.language in _CODE, f"nothing runs a block of {block.language!r}"
        {"bash": self._bash, "yaml": self._yaml, "python": self._python, "json": self._json}[block.language](block.text)

    def _yaml(self, text: str) -> None:
        """A configuration, or a part of one for the user's own endpoint and task."""
        Path("config").mkdir()
        Path("config/manual_deployment.yaml").write_text(text)
        words = ["run", "--config-dir", "config", "--config-name", "manual_deployment", *self.flags]
        words += ["-o", f"target.api_endpoint.url={self.server}/v1/completions"]
        document = yaml.safe_load(text)
        if "target" not in document:
            words += ["--api-key-name", "API_KEY", "-t", "gsm8k"]
            words += [] if "--limit-samples" in words else ["--limit-samples", "3"]
        evalside(*words)
        for task in document.get("evaluation", {}).get("tasks") or [{"name": "gsm8k"}]:
            [file] = Path().glob(f"**/{task['name']}/results.yml")
            told = yaml.safe_load(file.read_text())
            wanted = {**document["evaluation"].get("overrides", {}), **task.get("overrides", {})}
            for key, value in wanted.items():
                name = key.removeprefix("config.params.")
                assert told["config"]["params"][name] == (self.limit or value if name == "limit_samples" else value)
        self.check()

    def _python(self, text: str) -> None:
        """The package is called otherwise, and the server is elsewhere; all else is as it is written."""
        assert "limit_samples=100" in text
        code = text.replace("nemo_evaluator", "harness").replace(SERVER, self.server)
        names: dict[str, Any] = {"__name__": "users_script"}
        exec(compile(code.replace("limit_samples=100", self.params), "document", "exec", dont_inherit=True), names)
        [metrics] = [task.metrics for name, task in names["results"].tasks.items() if name == "mmlu_pro"]
        scores = metrics["exact_match,custom-extract"].scores["exact_match,custom-extract"]
        assert scores.stats.count == (self.limit or 100)
        assert metrics["errors"].scores["count"].value == 0
        assert Path("cache").is_dir() == ("AdapterConfig" in text)
        self.check()

    def _bash(self, text: str) -> None:
        joined = re.sub(r"\\\n\s*", "", text)
        for line in shell_commands(joined):
            words = shlex.split(line)
            if words[0] == "nemo-evaluator-launcher":
                places = {"packages/nemo-evaluator-launcher/examples": str(ROOT / "examples")}
                words = [places.get(word, word).replace(SERVER, self.server) for word in words[1:]]
                evalside(*words, *self.flags, "-o", "target.api_endpoint.api_key_name=API_KEY")
                self.check()
            elif words[0] == "curl":
                self._curl(words)
            else:
                assert words[0] == "echo", f"nothing runs {line!r}"
                said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, env=os.environ)
                assert said.stdout.strip() == KEY

    def _curl(self, words: list[str]) -> None:
        """Asks through the sidecar what the document asks the server; the answer is the server's own."""
        [url] = [word for word in words if word.startswith("http")]
        headers = dict(words[n + 1].split(": ", 1) for n, word in enumerate(words) if word == "-H")
        headers = {name: value.replace("YOUR_API_KEY", os.environ["API_KEY"]) for name, value in headers.items()}
        body = words[words.index("-d") + 1] if "-d" in words else None
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        through, straight = (
            httpx.request(method, url.replace(SERVER, base), headers=headers, content=body, timeout=600)
            for base in (self.sidecar, self.server)
        )
        wanted = 404 if url.removeprefix(SERVER) in self.lacks else 200
        assert (through.status_code, straight.status_code) == (wanted, wanted), through.text
        assert through.content == straight.content or through.json()["choices"][0]["finish_reason"]

    def _json(self, text: str) -> None:
        """A request is answered in the form of the document's answer, which has the fields that ours has."""
        document = json.loads(text)
        completions = "prompt" in document or document.get("object") == "text_completion"
        requests = [json.loads(block.text) for block in BLOCKS if block.language == "json"]
        [request] = [each for each in requests if "choices" not in each and ("prompt" in each) == completions]
        path = "completions" if completions else "chat/completions"
        headers = {"authorization": f"Bearer {os.environ['API_KEY']}"}
        answer = httpx.post(f"{self.sidecar}/v1/{path}", json=request, headers=headers, timeout=600)
        assert answer.status_code == 200, answer.text
        if "choices" in document:
            assert document.keys() <= answer.json().keys()
            assert document["choices"][0].keys() <= answer.json()["choices"][0].keys()
            assert document["usage"].keys() <= answer.json()["usage"].keys()


def evalside(*words: str) -> str:
    """What the command line says, which ends well."""
    app = typer.Typer()
    app.command("run")(run)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output
    return result.output


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
