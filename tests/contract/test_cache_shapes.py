"""A stored answer in the other shape, on each route that has two."""

from typing import Any

import pytest

from proxy.testing import ModelServer
from proxy.wire import compare, fold
from tests.contract.sidecar import CHAT, Sidecar, chat, sidecar

COUNTED = {"stream": True, "stream_options": {"include_usage": True}}
ROUTES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "chat": (CHAT, chat(), COUNTED),
    "chat with a tool": (
        CHAT,
        chat(
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
            tool_choice="required",
        ),
        COUNTED,
    ),
    "chat with log probabilities": (CHAT, chat(logprobs=True, top_logprobs=2, n=2, seed=3), COUNTED),
    "completions": ("/v1/completions", {"model": "m", "prompt": "hi", "temperature": 0}, COUNTED),
    "responses": ("/v1/responses", {"model": "m", "input": "hi", "temperature": 0}, {"stream": True}),
    "messages": ("/v1/messages", {**chat(), "max_tokens": 50}, {"stream": True}),
}


@pytest.fixture
async def proxy(tmp_path):
    with ModelServer() as server:
        async with sidecar(tmp_path, server, ["caching"], upstream={"namespace": "n"}) as running:
            yield running


@pytest.mark.parametrize("name", ROUTES)
async def test_a_stored_stream_serves_a_plain_client(proxy: Sidecar, name: str) -> None:
    path, body, stream = ROUTES[name]
    route = name.split(maxsplit=1)[0]
    live = await proxy.ask({**body, **stream}, path)
    served = await proxy.ask(body, path)
    assert (live.cache, served.cache, proxy.calls) == ("miss", "hit", 1)
    assert served.header("content-type") == "application/json"
    assert served.body == fold.folded(route, live.body)
    told = served.json
    assert {key: told[key] for key in ("id", "model")} == {
        key: fold.read(route, live.body)[key] for key in ("id", "model")
    }
    assert told["usage"]


@pytest.mark.parametrize("name", ROUTES)
async def test_a_stored_plain_answer_serves_a_stream(proxy: Sidecar, name: str) -> None:
    path, body, stream = ROUTES[name]
    route = name.split(maxsplit=1)[0]
    live = await proxy.ask(body, path)
    served = await proxy.ask({**body, **stream}, path)
    assert (live.cache, served.cache, proxy.calls) == ("miss", "hit", 1)
    assert (served.header("content-type") or "").startswith("text/event-stream")
    assert compare.differences(route, "plain", fold.folded(route, served.body) or b"", live.body) == []
    again = await proxy.ask(body, path)  # and is no answer of its own
    assert (again.cache, again.body) == ("hit", live.body)


@pytest.mark.parametrize("name", ROUTES)
async def test_a_streamed_hit_is_one_body_sent_at_once(proxy: Sidecar, name: str) -> None:
    path, body, stream = ROUTES[name]
    first = await proxy.ask({**body, **stream}, path)
    async with proxy.exchange(path, {**body, **stream}, {}) as exchange:
        start = await exchange.start()
        chunks = [chunk async for chunk in exchange.chunks()]
    assert chunks == [first.body]
    assert dict(start.headers)[b"content-length"] == str(len(first.body)).encode()
