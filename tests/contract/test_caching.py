import asyncio
import json
import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest

from proxy.store.codec import unpack
from proxy.store.reading import reading
from proxy.store.writer import Job
from proxy.testing import Fault, ModelServer, Reply
from tests.contract.sidecar import CHAT, Sidecar, chat, sidecar

STREAM = chat(stream=True)


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
async def proxy(tmp_path, server):
    async with sidecar(tmp_path, server, ["caching"]) as running:
        yield running


async def cache_of(proxy: Sidecar, body: Any, **headers: str) -> list[str | None]:
    """What the cache says to a request and to the same once more."""
    return [(await proxy.ask(body, **headers)).cache for _ in range(2)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat()),
        (CHAT, STREAM),
        (CHAT, chat(n=2, temperature=0.0)),
        (CHAT, chat(stream=True, stream_options={"include_usage": True})),
        ("/v1/completions", {"model": "m", "prompt": "hello", "temperature": 0}),
        ("/v1/completions", {"model": "m", "prompt": ["a", "b"], "temperature": 0, "stream": True}),
        ("/v1/embeddings", {"model": "m", "input": "hello"}),
        ("/v1/responses", {"model": "m", "input": "hello", "temperature": 0}),
        ("/v1/responses", {"model": "m", "input": "hello", "temperature": 0, "stream": True}),
        ("/v1/messages", {**chat(), "max_tokens": 50}),
        ("/v1/messages", {**STREAM, "max_tokens": 50}),
        ("/tokenize", {"model": "m", "prompt": "hello"}),
    ],
)
async def test_the_second_answer_is_the_first_without_a_call(proxy: Sidecar, path: str, body: Any) -> None:
    first = await proxy.ask(body, path)
    calls = proxy.posts
    second = await proxy.ask(body, path)
    assert (first.cache, second.cache, proxy.posts) == ("miss", "hit", calls)
    assert (first.status, second.status) == (200, 200)
    assert second.body == first.body
    assert second.header("content-type") == first.header("content-type")
    assert second.header("x-evalside-cache-key") == first.header("x-evalside-cache-key")


async def test_a_hit_survives_a_restart(tmp_path, server) -> None:
    for expected in ("miss", "hit"):
        async with sidecar(tmp_path, server, ["caching"]) as proxy:
            assert (await proxy.ask()).cache == expected


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({}, "miss", "hit"),
        ({"mode": "on"}, "miss", "hit"),
        ({"mode": True}, "miss", "hit"),  # YAML's `on`
        ({"mode": False}, "off", "off"),
        ({"mode": "read"}, "miss", "miss"),
        ({"mode": "write"}, "miss", "miss"),
        ({"reuse_cached_responses": True}, "miss", "hit"),
        ({"reuse_cached_responses": False}, "miss", "miss"),
        ({"bypass": True}, "off", "off"),
    ],
)
async def test_modes(tmp_path, server, options: dict[str, Any], first: str, second: str) -> None:
    async with sidecar(tmp_path, server, [{"name": "caching", "config": options}]) as proxy:
        assert await cache_of(proxy, chat()) == [first, second]
        assert proxy.calls == (1 if second == "hit" else 2)
        stored = (await proxy.ask(x_evalside_cache="read")).cache
        assert stored == ("miss" if "off" in (first, options.get("mode")) or options.get("mode") == "read" else "hit")


@pytest.mark.parametrize(("mode", "says", "serves"), [("off", "off", 0), ("write", "miss", 0), ("read", "hit", 1)])
async def test_a_request_may_choose_its_mode(proxy: Sidecar, mode: str, says: str, serves: int) -> None:
    await proxy.ask()
    assert (await proxy.ask(x_evalside_cache=mode)).cache == says
    assert proxy.calls == 2 - serves
    assert proxy.server.requests[-1].header("x-evalside-cache") is None


async def test_an_unknown_mode_is_refused(proxy: Sidecar) -> None:
    assert (await proxy.ask(x_evalside_cache="maybe")).status == 400


@pytest.mark.parametrize("temperature", [None, False, 1e-7, 0.7, "0", ...])
async def test_sampled_answers_are_stored_and_not_served(tmp_path, server, temperature: Any) -> None:
    body = chat(temperature=temperature)
    if temperature is ...:
        del body["temperature"]
    async with sidecar(tmp_path, server, ["caching"], upstream={"namespace": "n"}) as proxy:
        assert await cache_of(proxy, body) == ["miss", "miss"]
        answered = (await proxy.ask(body)).status == 200
    with reading(tmp_path / "evalside.db") as db:
        rows = db.execute("SELECT pool, sample FROM responses ORDER BY id").fetchall()
    assert [tuple(row) for row in rows] == ([("default", 0), ("default", 1), ("default", 2)] if answered else [])


async def test_an_answer_serves_other_shapes_where_nothing_is_lost(proxy: Sidecar) -> None:
    usage = chat(stream=True, stream_options={"include_usage": True})
    assert await cache_of(proxy, chat()) == ["miss", "hit"]
    streamed, counted = await proxy.ask(STREAM), await proxy.ask(usage)
    assert (streamed.cache, counted.cache, proxy.calls) == ("hit", "hit", 1)
    assert streamed.header("content-type") == "text/event-stream"
    assert b'"usage":{' in counted.body.replace(b" ", b"")
    assert b'"usage":{' not in streamed.body.replace(b" ", b"")


async def test_a_stream_without_usage_serves_no_plain_request(proxy: Sidecar) -> None:
    assert await cache_of(proxy, STREAM) == ["miss", "hit"]
    assert await cache_of(proxy, chat()) == ["miss", "hit"]
    assert proxy.calls == 2


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"max_tokens": 7},
        {"n": 2},
        {"unheard_of": 1},
        {"messages": [{"role": "user", "content": "hello "}]},
    ],
)
async def test_what_may_change_the_answer_changes_the_key(proxy: Sidecar, change: dict[str, Any]) -> None:
    await proxy.ask()
    assert (await proxy.ask(chat(**change))).cache == "miss"


async def test_query_and_key_headers_are_part_of_the_key(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, [{"name": "caching", "config": {"key_headers": ["X-Tenant"]}}]) as proxy:
        assert (await proxy.ask(x_tenant="a")).cache == "miss"
        assert (await proxy.ask(x_tenant="a", user_agent="other")).cache == "hit"
        assert (await proxy.ask(x_tenant="b")).cache == "miss"
        assert (await proxy.ask(path=f"{CHAT}?version=2", x_tenant="a")).cache == "miss"


async def test_another_server_has_another_identity_unless_a_namespace_says_so(tmp_path, server) -> None:
    with ModelServer() as other:
        for upstream, expected in ((server, "miss"), (other, "miss"), (server, "hit")):
            async with sidecar(tmp_path, upstream, ["caching"]) as proxy:
                assert (await proxy.ask()).cache == expected
        for upstream, expected in ((server, "miss"), (other, "hit")):
            async with sidecar(tmp_path, upstream, ["caching"], upstream={"namespace": "llama"}) as proxy:
                assert (await proxy.ask()).cache == expected


async def test_clients_share_answers_where_their_keys_lead_to_the_same_server(proxy: Sidecar) -> None:
    """A gateway may route by key: what one client learned of its server is nothing to another's."""

    def version(request: Any) -> Reply:
        return Reply(json={"version": "2" if request.header("authorization") == "Bearer b" else "1"})

    proxy.server.on("/version", version)
    told = [(await proxy.ask(authorization=f"Bearer {key}")).cache for key in "abcabc"]
    assert told == ["miss", "miss", "hit", "hit", "hit", "hit"]
    assert [request.header("authorization") for request in proxy.server.generation_requests] == ["Bearer a", "Bearer b"]


@pytest.mark.parametrize("name", ["api-key", "x-goog-api-key", "ocp-apim-subscription-key", "x-portkey-virtual-key"])
async def test_a_key_under_any_name_may_lead_to_another_server(proxy: Sidecar, name: str) -> None:
    proxy.server.on("/version", lambda request: Reply(json={"version": request.header(name) or "0"}))
    told = [(await proxy.ask(**{name.replace("-", "_"): key})).cache for key in "abab"]
    assert told == ["miss", "miss", "hit", "hit"]


@pytest.mark.parametrize(("temperature", "mode"), [(0, "on"), (0, "write"), (0, "refresh"), (0.7, "on")])
async def test_no_answer_is_asked_for_while_the_disk_is_behind(
    proxy: Sidecar, monkeypatch, temperature: float, mode: str
) -> None:
    monkeypatch.setattr("proxy.store.writer.CACHE_BACKLOG", 100)
    behind = threading.Event()
    proxy.app.state.house.store._writer.submit(Job(lambda connection: behind.wait(5), 200, is_log=False))
    asking = asyncio.create_task(proxy.ask(chat(temperature=temperature), x_evalside_cache=mode))
    await asyncio.wait({asking}, timeout=0.05)
    assert not proxy.server.generation_requests
    behind.set()
    assert (await asyncio.wait_for(asking, 5)).status == 200


async def test_a_key_in_the_body_is_not_kept(proxy: Sidecar) -> None:
    secret = "sk-0123456789abcdef0123456789"
    for field, second in (("api_key", "miss"), ("access_token", "miss"), ("prompt_cache_key", "hit")):
        body = chat(messages=[{"role": "user", "content": field}], **{field: secret})
        assert [(await proxy.ask(body)).cache for _ in range(2)] == ["miss", second]
    await proxy.app.state.house.store.flush()
    with closing(sqlite3.connect(proxy.database)) as connection:
        kept = [unpack(row[0]) for row in connection.execute("SELECT request FROM responses")]
    assert len(kept) == 1
    assert secret.encode() not in kept[0]


async def test_a_cache_dir_is_a_database_of_its_own(tmp_path, server) -> None:
    options = [{"name": "caching", "config": {"cache_dir": str(tmp_path / "own")}}]
    async with sidecar(tmp_path / "a", server, options) as proxy:
        assert (await proxy.ask()).cache == "miss"
    async with sidecar(tmp_path / "b", server, options) as proxy:
        assert (await proxy.ask()).cache == "hit"
    assert (tmp_path / "own" / "cache.db").stat().st_mode & 0o777 == 0o600


async def test_the_key_is_of_the_final_request_and_the_record_what_the_server_said(tmp_path, server) -> None:
    modifier = {"name": "payload_modifier", "config": {"params_to_remove": ["seed"]}}
    async with sidecar(tmp_path, server, ["caching", modifier]) as proxy:
        assert (await proxy.ask(chat(seed=1))).cache == "miss"
        assert (await proxy.ask(chat(seed=2))).cache == "hit"
    async with sidecar(tmp_path, server, ["caching"]) as proxy:
        assert (await proxy.ask(chat())).cache == "hit"


GOOD: dict[str, Any] = {
    "id": "x",
    "object": "chat.completion",
    "created": 17,
    "model": "real-name",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def variant(**choice: Any) -> dict[str, Any]:
    return {**GOOD, "choices": [{**GOOD["choices"][0], **choice}]}


def events(*documents: Any) -> list[bytes]:
    return [
        b"data: " + (item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n\n" for item in documents
    ]


DELTA = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (chat(), Reply(status=400, json={"error": {"message": "no"}})),
        (chat(), Reply(status=429, json={"error": {"message": "slow down"}})),
        (chat(), Reply(status=500, json=GOOD)),
        (chat(), Reply(status=201, json=GOOD)),
        (chat(), Reply(json={"error": {"message": "in a 200"}})),
        (chat(), Reply(json={**GOOD, "choices": []})),
        (chat(n=2), Reply(json=GOOD)),
        (chat(), Reply(json=variant(finish_reason="content_filter"))),
        (chat(), Reply(json=variant(finish_reason="abort"))),
        (chat(), Reply(json=variant(finish_reason=None))),
        (chat(), Reply(body=b"not json", headers={"content-type": "application/json"})),
        (chat(), Reply(json=GOOD, fault=Fault.CLOSE_IN_BODY)),
        (chat(), Reply(json=GOOD, fault=Fault.RESET_IN_BODY)),
        (STREAM, Reply(chunks=events(DELTA, END))),
        (STREAM, Reply(chunks=events(DELTA, b"[DONE]"))),
        (STREAM, Reply(chunks=events(DELTA, {"error": {"message": "oops"}}, b"[DONE]"))),
        (STREAM, Reply(chunks=events(DELTA, END, b"[DONE]"), fault=Fault.CLOSE_IN_BODY, after_chunks=2)),
        (STREAM, Reply(json=GOOD)),
        (chat(), Reply(chunks=events(DELTA, END, b"[DONE]"))),
    ],
)
async def test_only_complete_answers_are_stored(proxy: Sidecar, body: Any, reply: Reply) -> None:
    proxy.server.enqueue(reply)
    try:
        first = await proxy.ask(body)
    except RuntimeError:  # the driver's word for a body that was cut
        pass
    else:
        assert first.cache == "miss"
    assert await cache_of(proxy, body) == ["miss", "hit"]


async def test_an_answer_whose_client_left_is_not_stored(proxy: Sidecar) -> None:
    proxy.server.enqueue(Reply(chunks=events(DELTA, END, b"[DONE]"), fault=Fault.STALL_IN_BODY, after_chunks=1))
    async with proxy.exchange(CHAT, STREAM, {}) as exchange:
        await exchange.start()
        await anext(exchange.chunks())
        exchange.disconnect()
    assert await proxy.server.generation_requests[0].wait_aborted()
    assert await cache_of(proxy, STREAM) == ["miss", "hit"]


async def test_length_is_complete(proxy: Sidecar) -> None:
    proxy.server.enqueue(Reply(json=variant(finish_reason="length")))
    assert await cache_of(proxy, chat()) == ["miss", "hit"]


async def test_a_compressed_answer_is_stored_decoded(proxy: Sidecar) -> None:
    proxy.server.enqueue(Reply(json=GOOD, gzip=True, headers={"content-encoding": "gzip"}))
    first = await proxy.ask()
    assert first.header("content-encoding") == "gzip"
    second = await proxy.ask()
    assert (second.cache, second.json, second.header("content-encoding")) == ("hit", GOOD, None)


async def test_a_hit_keeps_the_answer_and_leaves_out_what_was_of_its_moment(proxy: Sidecar) -> None:
    moment = [(b"set-cookie", b"a=1"), (b"x-request-id", b"7"), (b"x-kept", b"1"), (b"x-kept", b"2")]
    proxy.server.enqueue(Reply(json=GOOD, headers=moment))
    first, second = await proxy.ask(), await proxy.ask()
    assert second.json == GOOD
    assert [value for name, value in second.headers if name.lower() == b"x-kept"] == [b"1", b"2"]
    assert (first.header("set-cookie"), first.header("x-request-id")) == ("a=1", "7")
    assert [second.header(name) for name in ("date", "set-cookie", "x-request-id", "x-evalside-upstream-ms")] == [
        None
    ] * 4


@pytest.mark.parametrize(
    "body",
    [
        chat(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}]),
        b'{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0,"temperature":0}',
        b'{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0,"x":NaN}',
        b'{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0,"x":"\\ud800"}',
        b'\xef\xbb\xbf{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0}',
    ],
)
async def test_what_no_cache_may_answer_passes_by(proxy: Sidecar, body: Any) -> None:
    proxy.server.on(CHAT, Reply(json=GOOD))
    assert await cache_of(proxy, body) == ["bypass", "bypass"]
    if isinstance(body, bytes):
        assert proxy.server.requests[-1].body == body


@pytest.mark.parametrize("literal", ["1e400", "-1e400", "18446744073709551616", "-0.0", "0.30000000000000004"])
async def test_numbers_that_python_cannot_hold_count_and_pass_as_they_are_written(proxy: Sidecar, literal: str) -> None:
    def body(text: str) -> bytes:
        asked = '{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0,"x":[TEXT],"top_p":TEXT}'
        return asked.replace("TEXT", text).encode()

    proxy.server.on(CHAT, Reply(json=GOOD))
    assert await cache_of(proxy, body(literal)) == ["miss", "hit"]
    assert proxy.server.generation_requests[-1].body == body(literal)
    assert (await proxy.ask(body(literal + "1" if "." in literal else literal + "0"))).cache == "miss"


async def test_a_deterministic_answer_is_everyones(proxy: Sidecar) -> None:
    first = await proxy.ask(x_evalside_run="a")
    others = [await proxy.ask(), await proxy.ask(x_evalside_run="b"), await proxy.ask(x_evalside_sample="7")]
    assert {(answer.cache, answer.body) for answer in others} == {("hit", first.body)}
    assert {answer.header("x-evalside-sample") for answer in [first, *others]} == {None}


async def test_requests_tied_to_the_servers_state_pass_by(proxy: Sidecar) -> None:
    for field in ({"previous_response_id": "r"}, {"conversation": "c"}, {"background": True}):
        answered = await proxy.ask({"model": "m", "input": "hi", "temperature": 0, **field}, "/v1/responses")
        assert answered.cache == "bypass"


async def test_remote_media_may_be_allowed(tmp_path, server) -> None:
    body = chat(
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}]
    )
    server.on(CHAT, Reply(json=GOOD))
    async with sidecar(tmp_path, server, [{"name": "caching", "config": {"allow_remote_media": True}}]) as proxy:
        assert await cache_of(proxy, body) == ["miss", "hit"]


async def test_an_answer_that_repeats_a_key_is_not_kept(proxy: Sidecar) -> None:
    key = "sk-client-0123456789abcdef"
    proxy.server.on(CHAT, Reply(json=variant(message={"role": "assistant", "content": f"your key is {key}"})))
    assert await cache_of(proxy, chat(), authorization=f"Bearer {key}") == ["miss", "miss"]
    proxy.server.on(CHAT, Reply(json=variant(message={"role": "assistant", "content": "an unused variable"})))
    assert await cache_of(proxy, chat(), authorization="Bearer unused") == ["miss", "hit"]
