"""Samples of named runs: the k-th identical request gets sample k, in every pass, once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from proxy.store.reading import reading
from proxy.testing import Fault, ModelServer, Reply
from tests.contract.gated import LAST, answer_of, event_of, gated
from tests.contract.sampling import NAMED, PLAIN, STREAM, answered, ask, leave, new_pass, told
from tests.contract.sidecar import CHAT, Answer, Sidecar, chat, sidecar


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
async def proxy(tmp_path, server):
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as running:
        yield running


def texts(answers: list[Answer]) -> list[bytes]:
    return [answer.body for answer in answers]


@pytest.mark.parametrize("body", [PLAIN, STREAM, chat(temperature=0.7, n=2), chat(temperature=None)])
async def test_the_kth_request_gets_sample_k_and_a_new_pass_replays_them_in_order(proxy: Sidecar, body: Any) -> None:
    if body["temperature"] is None:
        del body["temperature"]
    first = [await ask(proxy, body) for _ in range(3)]
    assert [(answer.cache, answer.header("x-evalside-sample")) for answer in first] == [
        ("miss", "0"),
        ("miss", "1"),
        ("miss", "2"),
    ]
    assert len(set(texts(first))) == 3
    await new_pass(proxy)
    again = [await ask(proxy, body) for _ in range(3)]
    assert [(answer.cache, answer.header("x-evalside-sample")) for answer in again] == [
        ("hit", "0"),
        ("hit", "1"),
        ("hit", "2"),
    ]
    assert texts(again) == texts(first)
    assert proxy.calls == 3
    assert await told(proxy, body) == ("miss", "3")  # and goes on where there is none


async def test_a_pass_has_what_was_not_confirmed_when_it_began_and_so_has_the_next(tmp_path, server) -> None:
    server.on("/version", Reply(json={"version": "0.11.0"}, delay=0.2))  # so that confirming takes a moment
    async with sidecar(tmp_path, server, ["caching"]) as proxy:
        first = [await ask(proxy) for _ in range(3)]
        for number in (1, 2):
            assert (await proxy.ask({}, "/-/runs/r")).json["pass"] == number
            again = [await ask(proxy) for _ in range(3)]
            assert [answer.cache for answer in again] == ["hit"] * 3
            assert texts(again) == texts(first)
        assert proxy.calls == 3


async def test_concurrent_requests_get_distinct_samples_and_a_replay_the_same_ones(proxy: Sidecar) -> None:
    first = await asyncio.gather(*(ask(proxy) for _ in range(30)))
    assert {int(answer.header("x-evalside-sample") or -1) for answer in first} == set(range(30))
    assert proxy.calls == 30
    await new_pass(proxy)
    again = await asyncio.gather(*(ask(proxy) for _ in range(30)))
    assert sorted(texts(again)) == sorted(texts(first))
    assert {answer.cache for answer in again} == {"hit"}
    assert proxy.calls == 30


async def test_runs_are_independent(proxy: Sidecar) -> None:
    answers = [await ask(proxy, run=run) for run in ("a", "b", "a", "b")]
    assert [answer.header("x-evalside-sample") for answer in answers] == ["0", "0", "1", "1"]
    assert len(set(texts(answers))) == 4
    await new_pass(proxy, "a")
    assert (await ask(proxy, run="a")).body == answers[0].body
    assert await told(proxy, run="b") == ("miss", "2")


async def test_a_run_made_from_another_replays_its_samples_and_keeps_its_own(proxy: Sidecar) -> None:
    first = [await ask(proxy, run="a") for _ in range(2)]
    await new_pass(proxy, "b", source="a")
    inherited = [await ask(proxy, run="b") for _ in range(3)]
    assert texts(inherited[:2]) == texts(first)
    assert [(answer.cache, answer.header("x-evalside-sample")) for answer in inherited] == [
        ("hit", "0"),
        ("hit", "1"),
        ("miss", "2"),
    ]
    own = await ask(proxy, run="a")
    assert (own.cache, own.header("x-evalside-sample")) == ("miss", "2")
    await new_pass(proxy, "b")
    assert texts([await ask(proxy, run="b") for _ in range(3)]) == texts(inherited)
    assert own.body != inherited[2].body
    await new_pass(proxy, "c", source="b")  # and theirs in turn
    assert texts([await ask(proxy, run="c") for _ in range(3)]) == texts(inherited)
    assert proxy.calls == 4


async def test_the_default_run_stores_and_never_serves(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        answers = [await proxy.ask(PLAIN), await ask(proxy, run="default"), await proxy.ask(PLAIN)]
        assert [(answer.cache, answer.header("x-evalside-sample")) for answer in answers] == [("miss", None)] * 3
        assert proxy.calls == 3
        assert await told(proxy, run="r") == ("miss", "0")
    with reading(tmp_path / "evalside.db") as db:
        kept = [tuple(row) for row in db.execute("SELECT pool, sample FROM responses WHERE run = 'default'").fetchall()]
    assert kept == [("default", 0), ("default", 1), ("default", 2)]


async def test_a_sample_can_be_named_without_moving_the_counter(proxy: Sidecar) -> None:
    first = [await ask(proxy) for _ in range(3)]
    for index in (2, 0, 2):
        named = await ask(proxy, x_evalside_sample=str(index))
        assert (named.cache, named.header("x-evalside-sample")) == ("hit", str(index))
        assert named.body == first[index].body
    assert await told(proxy) == ("miss", "3")
    assert proxy.server.requests[-1].header("x-evalside-sample") is None


async def test_a_named_sample_that_is_missing_is_asked_for_and_kept(proxy: Sidecar) -> None:
    assert await told(proxy, x_evalside_sample="4") == ("miss", "4")
    assert await told(proxy, x_evalside_sample="4") == ("hit", "4")
    await proxy.app.state.house.store.flush()
    assert [await told(proxy) for _ in range(4)] == [("miss", str(number)) for number in range(4)]
    assert [await told(proxy) for _ in range(2)] == [("hit", "4"), ("miss", "5")]


@pytest.mark.parametrize("headers", [{}, {"x_evalside_run": "default"}])
async def test_a_named_sample_needs_a_named_run(proxy: Sidecar, headers: dict[str, str]) -> None:
    answer = await proxy.ask(PLAIN, x_evalside_sample="0", **headers)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_header")
    assert proxy.calls == 0


async def test_what_was_received_tells_sequences_apart(tmp_path, server) -> None:
    """A seed that the server cannot take is removed, and still each seed has samples of its own."""
    modifier = {"name": "payload_modifier", "config": {"params_to_remove": ["seed"]}}
    async with sidecar(tmp_path, server, ["caching", modifier], **NAMED) as proxy:
        bodies = [chat(temperature=0.7, seed=seed) for seed in (1, 2, 3)]
        first = [await ask(proxy, body) for body in bodies]
        assert [answer.header("x-evalside-sample") for answer in first] == ["0", "0", "0"]
        assert len(set(texts(first))) == 3
        assert len({answer.header("x-evalside-cache-key") for answer in first}) == 1
        await new_pass(proxy)
        assert texts([await ask(proxy, body) for body in bodies[::-1]]) == texts(first[::-1])
        assert proxy.calls == 3


async def test_n_is_part_of_the_key_and_one_answer_takes_one_slot(proxy: Sidecar) -> None:
    assert await told(proxy, chat(temperature=0.7, n=3)) == ("miss", "0")
    assert await told(proxy, chat(temperature=0.7, n=2)) == ("miss", "0")
    assert await told(proxy, chat(temperature=0.7, n=3)) == ("miss", "1")


CUT = [event_of("hi"), LAST]


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (PLAIN, Reply(status=400, json={"error": {"message": "no"}})),
        (PLAIN, Reply(status=429, json={"error": {"message": "slow down"}})),
        (PLAIN, Reply(status=500, json={"error": {"message": "oops"}})),
        (PLAIN, Reply(fault=Fault.CLOSE_BEFORE_ANSWER)),
        (PLAIN, Reply(json=answer_of("hi"), fault=Fault.CLOSE_IN_BODY)),
        (PLAIN, Reply(json=answer_of("hi", finish_reason="content_filter"))),
        (PLAIN, Reply(json=answer_of("hi", finish_reason=None))),
        (STREAM, Reply(chunks=CUT, fault=Fault.CLOSE_IN_BODY, after_chunks=1)),
        (STREAM, Reply(chunks=[event_of("hi")])),
        (STREAM, Reply(json=answer_of("hi"))),
    ],
)
@pytest.mark.parametrize("options", [{}, {"finish_on_disconnect": True}])
async def test_an_answer_that_cannot_be_kept_uses_up_no_index(
    tmp_path, server, body: Any, reply: Reply, options: dict[str, Any]
) -> None:
    async with sidecar(tmp_path, server, [{"name": "caching", "config": options}], **NAMED) as proxy:
        server.enqueue(reply)
        await ask(proxy, body)
        assert [await told(proxy, body) for _ in range(2)] == [("miss", "0"), ("miss", "1")]
        await new_pass(proxy)
        assert [await told(proxy, body) for _ in range(2)] == [("hit", "0"), ("hit", "1")]


async def test_a_client_that_leaves_before_the_headers_gives_its_sample_back(tmp_path) -> None:
    async with gated() as upstream, sidecar(tmp_path, upstream, ["caching"], **NAMED) as proxy:
        async with proxy.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
            call = await upstream.call()
            await leave(exchange)
        await asyncio.wait_for(call.gone.wait(), 5)
        assert await answered(proxy, upstream) == ("miss", "0")


async def test_a_client_that_leaves_in_mid_stream_gives_its_sample_back(tmp_path) -> None:
    async with gated() as upstream, sidecar(tmp_path, upstream, ["caching"], **NAMED) as proxy:
        async with proxy.exchange(CHAT, STREAM, {"x-evalside-run": "r"}) as exchange:
            call = await upstream.call()
            await call.begin(event_of("hi"))
            await exchange.start()
            await leave(exchange)
        await asyncio.wait_for(call.gone.wait(), 5)
        assert await answered(proxy, upstream) == ("miss", "0")


async def test_a_client_that_leaves_before_its_last_byte_gives_back_what_is_kept(tmp_path) -> None:
    """Missed, and replayed: the next one gets the same sample."""
    async with gated() as upstream, sidecar(tmp_path, upstream, ["caching"], **NAMED) as proxy:
        for _ in range(2):
            async with proxy.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
                exchange.hold()
                if upstream.count == 0:
                    await (await upstream.call()).answer("first")
                await exchange.start()
                exchange._gone.set()  # with its last byte still held back
                await exchange.wait_finished()
        got = await ask(proxy)
        assert (got.cache, got.header("x-evalside-sample"), upstream.count) == ("hit", "0", 1)
        assert await answered(proxy, upstream) == ("miss", "1")


async def test_a_client_that_leaves_before_it_has_a_sample_leaves_none_behind(tmp_path, monkeypatch, server) -> None:
    """Its lease is on its way from the writer's thread when it goes."""
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        store = proxy.app.state.house.store
        transact = store._writer.transact
        asked = asyncio.Event()
        answers: list[asyncio.Future[Any]] = []

        def seen(write: Callable[[Any], Any]) -> asyncio.Future[Any]:
            asked.set()
            answers.append(transact(write))
            return answers[-1]

        monkeypatch.setattr(store._writer, "transact", seen)
        async with proxy.exchange(CHAT, PLAIN, {"x-evalside-run": "r"}) as exchange:
            await asked.wait()
            await leave(exchange)
        await asyncio.wait(answers)
        await store.flush()
        assert await told(proxy) == ("miss", "0")


async def test_a_restarted_sidecar_goes_on_where_it_was(tmp_path, server) -> None:
    for expected in (("miss", "0"), ("miss", "1"), ("miss", "2")):
        async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
            assert await told(proxy) == expected
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        await new_pass(proxy)
        assert await told(proxy) == ("hit", "0")
    async with sidecar(tmp_path, server, ["caching"], **NAMED) as proxy:
        assert [await told(proxy) for _ in range(3)] == [("hit", "1"), ("hit", "2"), ("miss", "3")]


async def test_two_workers_never_hand_out_one_index_twice(tmp_path, server) -> None:
    async with (
        sidecar(tmp_path, server, ["caching"], **NAMED) as one,
        sidecar(tmp_path, server, ["caching"], **NAMED) as other,
    ):
        first = await asyncio.gather(*(ask(proxy) for _ in range(20) for proxy in (one, other)))
        assert sorted(int(answer.header("x-evalside-sample") or -1) for answer in first) == list(range(40))
        assert len(server.generation_requests) == 40
        await other.app.state.house.store.flush()
        await new_pass(one)
        again = await asyncio.gather(*(ask(proxy) for _ in range(20) for proxy in (other, one)))
        assert {answer.cache for answer in again} == {"hit"}
        assert sorted(texts(again)) == sorted(texts(first))
        assert len(server.generation_requests) == 40


async def test_temperature_0_may_be_sampled_too(tmp_path, server) -> None:
    options = [{"name": "caching", "config": {"deterministic": "never"}}]
    async with sidecar(tmp_path, server, options, **NAMED) as proxy:
        assert [await told(proxy, chat()) for _ in range(2)] == [("miss", "0"), ("miss", "1")]
        assert (await proxy.ask(chat())).cache == (await proxy.ask(chat())).cache == "miss"
        embedding = {"model": "m", "input": "hi"}
        assert [(await proxy.ask(embedding, "/v1/embeddings")).cache for _ in range(2)] == ["miss", "hit"]


async def test_a_sample_serves_other_shapes_only_in_its_own_sequence(proxy: Sidecar) -> None:
    """What is received differs by `stream`, so a streaming client has samples of its own."""
    assert await told(proxy, PLAIN) == ("miss", "0")
    assert await told(proxy, STREAM) == ("miss", "0")
