"""What normalize settled in a run goes with its bundle, so that a replay builds the requests that were recorded."""

from pathlib import Path

import pytest

from proxy.store.bundle.exporting import export_run
from proxy.testing import ModelServer, Reply
from proxy.wire.profile import Capability, Profile, Verdict, write_profile
from tests.contract.normalizing import normalize, refusing
from tests.contract.sidecar import CHAT, chat, sidecar

AUTO = normalize(on_unsupported="learn")


def cached_in(folder: Path) -> list[object]:
    normalizing = next(item for item in AUTO if isinstance(item, dict))
    return [normalizing, {"name": "caching", "config": {"cache_dir": str(folder)}}]


@pytest.fixture
def server():
    with ModelServer() as running:
        card = {"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 50}
        running.on("/v1/models", Reply(json={"object": "list", "data": [card]}))
        running.on(CHAT, refusing("model", "messages", "temperature", "stream", "max_tokens", "max_completion_tokens"))
        yield running


ASKED = [
    chat(max_new_tokens=20),  # as vLLM calls it
    chat(max_tokens=4000, messages=[]),  # as long as its context is
    chat(top_k=3),  # as it refuses it
    chat(min_p=0.1, temperature=1),
    chat(n=2, temperature=1),  # choice by choice, as it refuses n
    chat(n=2, temperature=1),  # two samples more
]


@pytest.mark.parametrize("apart", [False, True])
async def test_a_replay_without_the_server_finds_every_answer(tmp_path, server, apart) -> None:
    """Neither its kind, nor its context, nor what it refuses can be asked for."""
    pipeline = cached_in(tmp_path / "cache") if apart else AUTO
    async with sidecar(tmp_path, server, pipeline) as proxy:
        first = [(await proxy.ask(body, x_evalside_run="r")).body for body in ASKED]
        await proxy.ask(chat(foo=1), x_evalside_run="other")
        database = tmp_path / "cache" / "cache.db" if apart else proxy.database
    export_run(database, "r", tmp_path / "bundle", pipeline={}, memory=proxy.database)
    server.stop()
    (tmp_path / "new").mkdir()

    pipeline = cached_in(tmp_path / "new" / "cache") if apart else AUTO
    async with sidecar(tmp_path / "new", server, pipeline, replay=tmp_path / "bundle") as replay:
        second = [await replay.ask(body, x_evalside_run="r") for body in ASKED]

    assert [answer.status for answer in second] == [200] * len(ASKED)
    assert [answer.cache for answer in second] == ["hit"] * len(ASKED)
    assert [answer.body for answer in second] == first


async def test_a_probed_profile_outranks_the_dialect_and_is_frozen_with_the_run(tmp_path, server) -> None:
    path = tmp_path / "profile.json"
    found = {"chat.n": Capability(Verdict.IGNORED), "chat.seed": Capability(Verdict.REJECTED)}
    profile = Profile("vllm", server.url, None, "2026-01-01T00:00:00Z", "m", 30, None, found)
    path.write_bytes(write_profile(profile))
    server.on(CHAT, None)
    options = normalize(dialect="vllm", profile=str(path), on_unsupported="drop")
    async with sidecar(tmp_path, server, options) as proxy:
        answered = await proxy.ask(chat(n=2, seed=1, max_tokens=900, messages=[]), x_evalside_run="r")
        assert len(answered.json["choices"]) == 2
        assert proxy.last == chat(max_tokens=30, messages=[])
    path.write_bytes(write_profile(Profile("vllm", server.url, None, "2026-01-02T00:00:00Z", "m", 40, None)))
    async with sidecar(tmp_path, server, options) as proxy:
        again = await proxy.ask(chat(n=2, seed=1, max_tokens=900, messages=[]), x_evalside_run="r")
        fresh = await proxy.ask(chat(seed=1, max_tokens=900, messages=[]), x_evalside_run="s")
    assert (again.cache, fresh.cache) == ("hit", "miss")
    assert server.generation_requests[-1].json == chat(seed=1, max_tokens=40, messages=[])
