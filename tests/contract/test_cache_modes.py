"""The modes of the cache: for the pipeline, for a run, and for one request."""

import asyncio
import hashlib
import json
from typing import Any

import pytest

from proxy.store import samples
from proxy.store.reading import reading
from proxy.testing import ModelServer, Reply
from tests.contract.gated import answer_of
from tests.contract.sidecar import CHAT, Answer, Sidecar, chat, sidecar

NAMED: dict[str, Any] = {"upstream": {"namespace": "n"}}
MODES = ["on", "off", "read", "write", "refresh", "replay", "verify"]

# Of a request that is stored, and of one that is not: what the cache says (or the status), and the calls it makes.
STORED = {
    "on": ("hit", 0),
    "off": ("off", 1),
    "read": ("hit", 0),
    "write": ("miss", 1),
    "refresh": ("miss", 1),
    "replay": ("hit", 0),
    "verify": ("hit", 0),
}
MISSING = {**dict.fromkeys(MODES, ("miss", 1)), "off": ("off", 1), "replay": (504, 0)}
KEEPS = {"on", "write", "refresh", "verify"}


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def caching(**options: Any) -> list[Any]:
    return [{"name": "caching", "config": {"verify_fraction": 0, **options}}]


class Asking:
    """A sidecar that is set to one mode in one of three ways."""

    def __init__(self, proxy: Sidecar, how: str, mode: str) -> None:
        self.proxy = proxy
        self.headers = {"x_evalside_run": "r"}
        if how == "header":
            self.headers["x_evalside_cache"] = mode

    async def told(self, body: Any) -> tuple[Any, int]:
        before = self.proxy.calls
        answer = await self.proxy.ask(body, **self.headers)
        return answer.cache if answer.status == 200 else answer.status, self.proxy.calls - before

    async def is_stored(self, body: Any) -> bool:
        store = self.proxy.app.state.house.store
        await store.flush()
        with reading(store.path) as db:
            request = json.dumps(body["messages"]).encode()
            rows = db.execute("SELECT request FROM responses").fetchall()
        return any(json.loads(row[0][1:])["messages"] == json.loads(request) for row in rows)


def saying(text: str, **fields: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": text}], **fields)


@pytest.mark.parametrize("temperature", [0, 0.7], ids=["deterministic", "sampled"])
@pytest.mark.parametrize("how", ["config", "run", "header"])
@pytest.mark.parametrize("mode", MODES)
async def test_what_a_mode_serves_asks_and_keeps(tmp_path, server, mode: str, how: str, temperature: float) -> None:
    body, other = saying("stored", temperature=temperature), saying("missing", temperature=temperature)
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        assert (await proxy.ask(body, x_evalside_run="r")).cache == "miss"
    interceptors = caching(mode=mode) if how == "config" else caching()
    async with sidecar(tmp_path, server, interceptors, **NAMED) as proxy:
        set_mode = mode if how == "run" else None
        await proxy.app.state.house.store.change(lambda db: samples.new_pass(db, "r", source=None, mode=set_mode))
        asking = Asking(proxy, how, mode)
        assert await asking.told(body) == STORED[mode]
        assert await asking.told(other) == MISSING[mode]
        assert await asking.is_stored(other) is (mode in KEEPS)


async def test_the_request_decides_over_the_run_and_the_run_over_the_pipeline(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, caching(mode="off"), **NAMED) as proxy:
        store = proxy.app.state.house.store
        await store.change(lambda db: samples.new_pass(db, "r", source=None, mode="write"))
        assert (await proxy.ask()).cache == "off"
        assert [(await proxy.ask(x_evalside_run="r")).cache for _ in range(2)] == ["miss", "miss"]
        assert (await proxy.ask(x_evalside_run="r", x_evalside_cache="on")).cache == "hit"
        assert (await proxy.ask(x_evalside_cache="on")).cache == "hit"


def text_of(answer: Answer) -> str:
    return str(answer.json["choices"][0]["message"]["content"])


@pytest.mark.parametrize("temperature", [0, 0.7], ids=["deterministic", "sampled"])
async def test_refresh_replaces_what_is_stored(tmp_path, server, temperature: float) -> None:
    body = chat(temperature=temperature)
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        for text, mode in (("old", "on"), ("ignored", "write"), ("new", "refresh")):
            server.enqueue(Reply(json=answer_of(text)))
            asked = await proxy.ask(body, x_evalside_run="r", x_evalside_sample="0", x_evalside_cache=mode)
            assert (asked.cache, text_of(asked)) == ("miss", text)
            kept = await proxy.ask(body, x_evalside_run="r", x_evalside_sample="0")
            assert (kept.cache, text_of(kept)) == ("hit", "old" if mode == "write" else text)


async def test_refresh_replaces_the_answer_in_all_its_shapes(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        for text, mode in (("old", "on"), ("new", "refresh")):
            server.options.answer = text
            await proxy.ask(chat(stream=True), x_evalside_cache="write" if mode == "on" else "off")
            await proxy.ask(chat(), x_evalside_cache=mode)
        await proxy.get("/-/runs")  # what was put is written
        answers = [await proxy.ask(chat()), await proxy.ask(chat(stream=True))]
    assert [(answer.cache, b"old" in answer.body) for answer in answers] == [("hit", False)] * 2


@pytest.mark.parametrize("shape", [{}, {"stream": True}], ids=["same shape", "other shape"])
async def test_what_was_refreshed_is_not_served_while_the_new_answer_is_confirmed(tmp_path, server, shape) -> None:
    async with sidecar(tmp_path, server, caching()) as proxy:
        for number in range(5):
            body = chat(seed=number)
            server.options.answer = "old"
            await proxy.ask(body)
            assert (await proxy.ask(body)).cache == "hit"  # it is confirmed
            server.options.answer = "new"
            await proxy.ask(body, x_evalside_cache="refresh")
            assert b"old" not in (await proxy.ask({**body, **shape})).body


async def test_a_refresh_that_fails_leaves_the_old_answer(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        first = await proxy.ask()
        server.enqueue(Reply(status=500, json={}))
        assert (await proxy.ask(x_evalside_cache="refresh")).status == 500
        again = await proxy.ask()
        assert (again.cache, again.body) == ("hit", first.body)


REMOTE = saying("x")
REMOTE["messages"][0]["content"] = [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]


@pytest.mark.parametrize("living", [True, False], ids=["a living server", "no server"])
@pytest.mark.parametrize("namespace", [None, "n"])
async def test_a_replay_never_asks(tmp_path, server, living: bool, namespace: str | None) -> None:
    upstream = {"upstream": {"namespace": namespace}}
    sampled = chat(temperature=0.7)
    stored = [(chat(), {}), (chat(), {"x_evalside_run": "r"}), (sampled, {"x_evalside_run": "r"})]
    async with sidecar(tmp_path, server, caching(), **upstream) as proxy:
        first = [await proxy.ask(body, **headers) for body, headers in stored]
    calls = len(server.generation_requests)
    if not living:
        server.stop()
    async with sidecar(tmp_path, server, caching(mode="replay"), **upstream) as proxy:
        await proxy.app.state.house.store.change(lambda db: samples.new_pass(db, "r", source=None, mode=None))
        again = [await proxy.ask(body, **headers) for body, headers in stored]
        assert [(answer.cache, answer.body) for answer in again] == [("hit", answer.body) for answer in first]
        missing = [
            (saying("other"), {}),
            (sampled, {"x_evalside_run": "r"}),  # it has one only
            (sampled, {}),
            (sampled, {"x_evalside_run": "r", "x_evalside_sample": "7"}),
            (REMOTE, {}),
            ({**chat(), "previous_response_id": "x"}, {}),
        ]
        for body, headers in missing:
            answer = await proxy.ask(body, **headers)
            assert (answer.status, answer.json["error"]["code"]) == (504, "replay_miss")
            assert answer.header("x-should-retry") == "false"
    assert len(server.generation_requests) == calls
    if not living:
        server.start()


async def test_a_replay_in_front_of_a_restarted_server_finds_what_is_on_record(tmp_path, server) -> None:
    """Its identity is another by then, and nothing of the record is about it."""
    sampled = chat(temperature=0.7)
    async with sidecar(tmp_path, server, caching()) as proxy:
        first = [await proxy.ask(body, x_evalside_run="r") for body in (chat(), sampled)]
    server.stop()
    server.start()
    async with sidecar(tmp_path, server, caching()) as proxy:
        await proxy.app.state.house.store.change(lambda db: samples.new_pass(db, "r", source=None, mode="replay"))
        again = [await proxy.ask(body, x_evalside_run="r") for body in (chat(), sampled)]
        assert [(answer.cache, answer.body) for answer in again] == [("hit", answer.body) for answer in first]
        assert len((await proxy.get("/-/runs/r")).json["identities"]) == 1  # a replay asks none, so none is mixed in
        assert (await proxy.ask(chat(), x_evalside_run="new")).cache == "miss"  # a mode that asks has to know who it is


async def test_a_replay_looks_under_no_other_server(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, caching()) as proxy:
        await proxy.ask(x_evalside_run="r")
    with ModelServer() as other:
        async with sidecar(tmp_path, other, caching(mode="replay")) as proxy:
            assert (await proxy.ask(x_evalside_run="r")).status == 504


async def test_a_replay_does_not_ask_the_canary(tmp_path, server) -> None:
    canary = {"upstream": {"canary": "2+2?"}}
    async with sidecar(tmp_path, server, caching(), **canary) as proxy:
        first = await proxy.ask(x_evalside_run="r")
    calls = len(server.generation_requests)
    async with sidecar(tmp_path, server, caching(mode="replay"), **canary) as proxy:
        again = await proxy.ask(x_evalside_run="r")
    assert (again.cache, again.body) == ("hit", first.body)
    assert len(server.generation_requests) == calls == 2


async def test_a_replay_without_a_server_needs_something_on_record(tmp_path, server) -> None:
    server.stop()
    async with sidecar(tmp_path, server, caching(mode="replay")) as proxy:
        for body in (chat(), chat(temperature=0.7)):
            answer = await proxy.ask(body, x_evalside_run="r")
            assert (answer.status, answer.json["error"]["code"]) == (504, "replay_miss")


async def test_a_replay_that_misses_uses_up_no_sample(tmp_path, server) -> None:
    body = chat(temperature=0.7)
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        for mode, status in (("replay", 504), ("replay", 504), ("on", 200)):
            answer = await proxy.ask(body, x_evalside_run="r", x_evalside_cache=mode)
            assert answer.status == status
        assert answer.header("x-evalside-sample") == "0"


async def verified(proxy: Sidecar, count: int) -> list[tuple[Any, ...]]:
    """The verifications, once there are so many."""
    store = proxy.app.state.house.store
    rows: list[Any] = []
    while len(rows) < count:
        await store.flush()
        with reading(store.path) as db:
            rows = db.execute("SELECT run, agreed, differs FROM verifications ORDER BY id").fetchall()
    return [tuple(row) for row in rows]


STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("shape", [{}, STREAMED, {"stream": True}], ids=["plain", "counted stream", "stream"])
async def test_verify_serves_and_asks_again_behind_the_clients_back(tmp_path, server, shape: dict[str, Any]) -> None:
    body = chat(**shape)
    server.options.answer = lambda body, choice, call: "old" if call < 2 else "new"
    async with sidecar(tmp_path, server, caching(mode="verify", verify_fraction=1), **NAMED) as proxy:
        first = await proxy.ask(body, x_evalside_run="r")
        assert first.cache == "miss"  # and kept
        assert await told_twice(proxy, body) == [("hit", first.body)] * 2
        assert await asyncio.wait_for(verified(proxy, 2), 10) == [("r", 1, None), ("r", 0, "content")]
        assert proxy.calls == 3
        served = await proxy.ask(body, x_evalside_cache="read")  # nothing of it was stored
        assert (served.cache, served.body) == ("hit", first.body)


async def told_twice(proxy: Sidecar, body: Any) -> list[tuple[str | None, bytes]]:
    answers = [await proxy.ask(body, x_evalside_run="r") for _ in range(2)]
    return [(answer.cache, answer.body) for answer in answers]


async def test_an_answer_that_fails_is_no_verification(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, caching(mode="verify", verify_fraction=1), **NAMED) as proxy:
        await proxy.ask()
        server.enqueue(
            Reply(status=500, json={}),
            Reply(json=answer_of("x", finish_reason="content_filter")),
            Reply(body=b"no json"),
            Reply(json=answer_of("longer", finish_reason="length")),
        )
        for _ in range(4):
            assert (await proxy.ask()).cache == "hit"
        assert await asyncio.wait_for(verified(proxy, 1), 10) == [("default", 0, "content, finish_reason")]


async def test_verify_asks_for_no_sample_again(tmp_path, server) -> None:
    body = chat(temperature=0.7)
    async with sidecar(tmp_path, server, caching(mode="verify", verify_fraction=1), **NAMED) as proxy:
        assert (await proxy.ask(body, x_evalside_run="r", x_evalside_sample="0")).cache == "miss"
        assert (await proxy.ask(body, x_evalside_run="r", x_evalside_sample="0")).cache == "hit"
        await proxy.ask()
        await proxy.ask()
        assert len(await asyncio.wait_for(verified(proxy, 1), 10)) == 1
        assert proxy.calls == 3


# -- other shapes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "asked", "says"),
    [
        ({}, {"stream": True}, "hit"),
        ({}, STREAMED, "hit"),
        (STREAMED, {}, "hit"),
        (STREAMED, {"stream": True}, "hit"),
        ({"stream": True}, {}, "miss"),  # a plain answer shows usage
        ({"stream": True}, STREAMED, "miss"),
    ],
)
async def test_an_answer_is_served_in_another_shape(tmp_path, server, stored: Any, asked: Any, says: str) -> None:
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        live = await proxy.ask(chat(**asked), x_evalside_cache="off")
        await proxy.ask(chat(**stored))
        served = await proxy.ask(chat(**asked))
        assert served.cache == says
        plain = not asked.get("stream")
        kinds = [value for name, value in served.headers if name.lower() == b"content-type"]
        assert kinds == [b"application/json" if plain else kinds[0]]
        assert kinds[0].startswith(b"application/json" if plain else b"text/event-stream")
        assert served.header("content-encoding") is None
        assert [value for name, value in served.headers if name.lower() == b"content-length"] in (
            [],
            [str(len(served.body)).encode()],
        )
        if plain:
            assert text_of(served) == text_of(live)
            assert served.json["usage"] == live.json["usage"]
        else:
            assert (b'"usage":{' in served.body.replace(b" ", b"")) is (asked == STREAMED)
            assert served.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("temperature", [0, 0.7], ids=["deterministic", "sampled"])
@pytest.mark.parametrize("mode", ["on", "replay"])
async def test_a_shape_that_would_lose_something_is_counted(tmp_path, server, mode: str, temperature: float) -> None:
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        body = chat(temperature=temperature, stream=True)
        await proxy.ask(body, x_evalside_run="r")
        store = proxy.app.state.house.store
        await store.flush()
        if temperature:  # as if the plain request had been received: its stream is sample 0 of its sequence
            plain = json.dumps({**body, "stream": False}).encode()
            pool = "r/" + hashlib.sha256(plain).hexdigest()[:32]
            await store.change(lambda db: db.execute("UPDATE responses SET pool = ?", [pool]))
        asked = await proxy.ask({**body, "stream": False}, x_evalside_run="r", x_evalside_cache=mode)
        assert asked.cache == "miss"
        [lossy] = [
            item for item in (await proxy.get("/-/runs/r")).json["findings"] if item["finding"] == "lossy_shapes"
        ]
        assert lossy["count"] == 1


async def test_another_shape_of_a_compressed_answer_is_served_plain(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        server.enqueue(Reply(json=answer_of("hi"), gzip=True))
        assert (await proxy.ask()).header("content-encoding") == "gzip"
        served = await proxy.ask(chat(stream=True))
        assert (served.cache, served.header("content-encoding")) == ("hit", None)
        assert served.header("content-length") == str(len(served.body))
        assert b'"hi"' in served.body


async def test_other_routes_have_one_shape(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, caching(), **NAMED) as proxy:
        body = {"model": "m", "input": "hi"}
        assert (await proxy.ask(body, "/v1/embeddings")).cache == "miss"
        assert (await proxy.ask({**body, "stream_options": {"a": 1}}, "/v1/embeddings")).cache == "miss"


async def test_a_server_that_nobody_can_tell_is_a_miss_and_nothing_is_stored(tmp_path, server) -> None:
    """One that fails when it is asked who it is: no answer of another can ever be served in its place."""
    for path in ("/v1/models", "/version", "/metrics", "/health", "/props", "/info"):
        server.on(path, Reply(status=503, json={}))
    async with sidecar(tmp_path, server, ["request_logging", *caching()]) as proxy:
        assert [(await proxy.ask(path=CHAT)).cache for _ in range(2)] == ["miss", "miss"]
        assert {row["reason"] for row in await proxy.rows()} == {
            "which model server is there cannot be known now, so nothing is looked up or kept"
        }
