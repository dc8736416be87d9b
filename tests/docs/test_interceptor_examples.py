"""The examples of every interceptor's reference, run: what a request, or an answer, is before it and after it.

A section has a configuration, and fences that are marked with what they are:

`json request [N times]`  what the client sends; without any, a request for the answer
`json answer [STATUS]`    what the model server says, the last one as often as it is asked; else the mock server's own
`json sent`               what it gets at last           `json asked`       how often it is asked
`json got`                what the client gets at last   `json seen`        status and headers of each answer
`json row`                a part of the exchange's row   `json statistics`  a part of those of the run
`json console`            a part of one console line     `json file NAME`   a part of a file
`json told`               what `http://localhost:8000/progress` is told at last

Without marks, two JSON fences are a request and what is sent.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.app import create_app
from proxy.plugins import BUILT_IN
from proxy.settings import Settings
from proxy.testing import ModelServer, Reply, lifespan
from tests.built_in import TRANSLATORS
from tests.contract.sidecar import Answer, Sidecar
from tests.docs.markdown import DOCS, section

PAGE = DOCS / "reference" / "interceptors.md"
NOT_RUN = {"limit", *TRANSLATORS}
"""What is only seen under load (tests/unit/interceptors/test_limit.py has it), and what has an example of its own."""
AFTER = {"sent", "asked", "got", "seen", "row", "statistics", "console", "told", "file"}
LISTENER = "http://localhost:8000"
_FENCE = re.compile(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


@dataclass
class Example:
    config: dict[str, Any]
    fences: list[tuple[str, list[str], Any]]
    """Kind, what follows it, and content."""

    def all(self, kind: str) -> list[tuple[list[str], Any]]:
        return [(words, content) for found, words, content in self.fences if found == kind]

    def only(self, kind: str) -> Any:
        return self.all(kind)[-1][1]

    @property
    def requests(self) -> list[Any]:
        chat = any("message" in choice for _, answer in self.all("answer") for choice in answer.get("choices", []))
        default: Any = {"messages": [{"role": "user", "content": "Hi"}]} if chat else {"prompt": "Hi"}
        given = [(int(words[0]) if words else 1, body) for words, body in self.all("request")]
        return [body for times, body in given or [(1, default)] for _ in range(times)]


def example(name: str) -> Example:
    config: dict[str, Any] | None = None
    fences: list[tuple[str, list[str], Any]] = []
    for language, mark, text in _FENCE.findall(section(PAGE, f"## {name}") + "\n"):
        if language == "yaml":
            config = yaml.safe_load(text)
        elif language == "json":
            kind, *words = mark.split() or ["sent" if fences else "request"]
            fences.append((kind, words, json.loads(text)))
    assert config is not None, f"{name} has no configuration to run"
    return Example(config, fences)


def part_of(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            name in found and part_of(value, found[name]) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(part_of(one, other) for one, other in zip(expected, found, strict=True))
        )
    return bool(expected == found)


class Ran:
    """What came of an example."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.rows: list[Any] = []
        self.statistics: Any = None
        self.sent: list[Any] = []
        self.told: list[Any] = []
        self.console: list[Any] = []

    def holds(self, kind: str, words: list[str], expected: Any) -> bool:
        if kind == "file":
            return part_of(expected, json.loads(Path(words[0]).read_text()))
        if kind == "console":
            return any(part_of(expected, line) for line in self.console)
        if kind in {"row", "statistics"}:
            return part_of(expected, self.rows[-1] if kind == "row" else self.statistics)
        exactly = {
            "sent": lambda: self.sent[-1],
            "asked": lambda: len(self.sent),
            "got": lambda: self.answers[-1].json,
            "seen": lambda: self._seen(expected),
            "told": lambda: self.told[-1],
        }
        return bool(exactly[kind]() == expected)

    def _seen(self, expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = [list(item) for item in expected]
        return [
            {name: answer.status if name == "status" else answer.header(name) for name in wanted}
            for wanted, answer in zip(names, self.answers, strict=True)
        ]


async def run(shown: Example, folder: Path) -> Ran:
    ran = Ran()
    with ModelServer(answer="4") as server, ModelServer() as listener:
        listener.on("/progress", Reply(json={}))
        answers = [Reply(int(words[0]) if words else 200, json=body) for words, body in shown.all("answer")]
        server.enqueue(*answers[:-1])
        for path in ("/v1/chat/completions", "/v1/completions") if answers else ():
            server.on(path, answers[-1])
        config = json.loads(json.dumps(shown.config).replace(LISTENER, listener.url))
        upstream = config.pop("upstream") | {"url": server.url}
        app = create_app(Settings(**config, upstream=upstream, store=f"sqlite:///{folder}/x.db"))
        async with lifespan(app):
            proxy = Sidecar(app, server, folder / "x.db")
            for body in shown.requests:
                path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
                ran.answers.append(await proxy.ask(body, path, x_evalside_run="r"))
            ran.rows = await proxy.rows()
            ran.statistics = (await proxy.get("/-/runs/r")).json.get("statistics")
        ran.sent = [request.json for request in server.generation_requests]
        ran.told = [request.json for request in listener.requests]
    return ran


def test_every_interceptor_is_shown_at_work() -> None:
    for name in set(BUILT_IN) - NOT_RUN:
        kinds = {kind for kind, _, _ in example(name).fences}
        assert kinds & AFTER, f"{name} shows nothing that can be checked"
        assert kinds <= {*AFTER, "request", "answer"}, f"{name} has marks that mean nothing"
        listed = [item if isinstance(item, str) else item["name"] for item in example(name).config["interceptors"]]
        assert name in listed


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - NOT_RUN))
async def test_before_becomes_after(name, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    shown = example(name)

    ran = await run(shown, tmp_path)
    for line in capfd.readouterr().out.splitlines():
        ran.console.append(json.loads(line))

    for kind, words, expected in shown.fences:
        if kind in AFTER:
            assert ran.holds(kind, words, expected), (kind, expected, vars(ran))


def test_an_example_that_is_wrong_is_found() -> None:
    ran = Ran()
    ran.sent, ran.answers = [{"a": 1}], [Answer(200, [(b"x", b"1")], b"{}")]
    wrong = [("sent", {"a": 2}), ("asked", 2), ("got", {"b": 1}), ("seen", [{"status": 200, "x": "2"}])]
    assert [ran.holds(kind, [], expected) for kind, expected in wrong] == [False] * 4
    assert part_of({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}], "d": 3})
    others: list[Any] = [{"a": []}, {"a": [{"b": 2}]}, {}, []]
    for other in others:
        assert not part_of({"a": [{"b": 1}]}, other)
