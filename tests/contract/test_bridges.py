"""Bridges through the whole sidecar: cache, log, ledger, strictness, streams, and the interceptors around them."""

import asyncio
import json
from typing import Any, ClassVar, cast

import pytest

from proxy.cache.flights import Flights
from proxy.store.bundle.exporting import export_run
from proxy.testing import Fault, ModelServer, Reply
from proxy.wire.sse import split
from tests.contract.gated import event_of, gated
from tests.contract.sidecar import Answer, Sidecar, chat, sidecar
from tests.waiting import until

RESPONSES = "/v1/responses"
LOGGED = ["request_logging", "response_logging", "response_stats", "caching"]
BRIDGED = [*LOGGED, "responses_to_chat"]
NAMED: dict[str, Any] = {"upstream": {"namespace": "n"}}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "hello", "temperature": 0, **fields}


def documents(answer: Answer) -> list[Any]:
    return [json.loads(event.data) for event in split(answer.body).events]


def kinds(answer: Answer) -> list[str]:
    return [document["type"] for document in documents(answer)]


def text(response: Any) -> str:
    return response["output"][-1]["content"][0]["text"]


@pytest.fixture
def server():
    with ModelServer() as running:
        running.on(RESPONSES, Reply(status=404, json={"detail": "Not Found"}))
        yield running


@pytest.fixture
async def proxy(tmp_path, server):
    async with sidecar(tmp_path, server, BRIDGED, **NAMED) as running:
        yield running


# -- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [{}, {"stream": True}])
@pytest.mark.parametrize("second", [{}, {"stream": True}])
async def test_the_second_request_is_a_hit_in_either_shape_and_asks_nobody(proxy, first, second) -> None:
    told = [await proxy.ask(asked(**shape), RESPONSES) for shape in (first, second)]
    assert [answer.cache for answer in told] == ["miss", "hit"]
    assert proxy.calls == 1
    one, other = (
        documents(answer)[-1]["response"] if shape else answer.json
        for answer, shape in zip(told, (first, second), strict=True)
    )
    assert one == other
    assert one["status"] == "completed"


async def test_what_is_kept_is_the_chats_own_answer_and_serves_a_chat(proxy, server) -> None:
    bridged = await proxy.ask(asked(), RESPONSES)
    direct = await proxy.ask(chat())
    assert direct.cache == "hit"
    assert bridged.header("x-evalside-cache-key") == direct.header("x-evalside-cache-key")
    assert direct.json["object"] == "chat.completion"
    assert text(bridged.json) == direct.json["choices"][0]["message"]["content"]
    assert [request.path for request in server.generation_requests] == ["/v1/chat/completions"]


async def test_a_hit_repeats_the_request_that_it_answers(proxy) -> None:
    first = await proxy.ask(asked(metadata={"n": "1"}), RESPONSES)
    second = await proxy.ask(asked(metadata={"n": "2"}), RESPONSES)
    assert second.cache == "hit"
    assert (first.json["metadata"], second.json["metadata"]) == ({"n": "1"}, {"n": "2"})


async def test_samples_of_a_run_are_drawn_and_replayed(proxy) -> None:
    body = asked(temperature=1)
    drawn = [text((await proxy.ask(body, RESPONSES, x_evalside_run="r")).json) for _ in range(3)]
    await proxy.ask(b"{}", "/-/runs/r")
    again = [await proxy.ask(body, RESPONSES, x_evalside_run="r") for _ in range(3)]
    assert [text(answer.json) for answer in again] == drawn
    assert [(answer.cache, answer.header("x-evalside-sample")) for answer in again] == [
        ("hit", str(number)) for number in range(3)
    ]


async def test_a_miss_is_explained_by_what_was_sent_on(tmp_path, server) -> None:
    options = [*LOGGED[:3], {"name": "caching", "config": {"mode": "read"}}, "responses_to_chat"]
    async with sidecar(tmp_path, server, options, **NAMED) as proxy:
        await proxy.ask(asked(seed=1), RESPONSES, x_evalside_cache="on")
        await proxy.ask(asked(seed=2), RESPONSES)
        row = (await proxy.rows())[-1]
    assert [field["field"] for field in row["why"]["nearest"]["fields"]] == ["seed"]


async def test_a_bundle_of_a_run_replays_it_over_the_same_bridge(tmp_path, server) -> None:
    body, bundle = asked(temperature=1), tmp_path / "run.bundle"
    async with sidecar(tmp_path, server, BRIDGED, **NAMED) as proxy:
        drawn = [text((await proxy.ask(body, RESPONSES, x_evalside_run="r")).json) for _ in range(2)]
        database = proxy.database
    export_run(database, "r", bundle, pipeline={})
    (tmp_path / "other").mkdir()
    async with sidecar(tmp_path / "other", server, BRIDGED, replay=bundle) as proxy:
        calls = proxy.calls
        again = [await proxy.ask(body, RESPONSES) for _ in range(2)]
        assert proxy.calls == calls
    assert [(answer.cache, text(answer.json)) for answer in again] == [("hit", said) for said in drawn]


class Watched(Flights):
    """Flights that a test can wait for."""

    made: ClassVar[list[Flights]] = []

    def __init__(self, *, finish: bool = False) -> None:
        super().__init__(finish=finish)
        self.made.append(self)


async def test_identical_requests_in_flight_share_one_call_and_each_gets_its_own_events(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("proxy.interceptors.caching.Flights", Watched)
    async with gated() as upstream, sidecar(tmp_path, cast(Any, upstream), BRIDGED, **NAMED) as proxy:
        tasks = [asyncio.create_task(proxy.ask(asked(stream=True), RESPONSES)) for _ in range(2)]
        call = await upstream.call()
        await until(lambda: sum(len(flight._readers) for flight in Watched.made[-1]._flights.values()) == 2)
        await call.begin(event_of("a"))
        await call.finish(event_of("b"))
        told = await asyncio.gather(*tasks)
    assert sorted(answer.cache or "" for answer in told) == ["coalesced", "miss"]
    assert told[0].body == told[1].body
    assert text(documents(told[0])[-1]["response"]) == "ab"


async def test_a_call_whose_client_has_left_may_finish_and_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("proxy.interceptors.caching.Flights", Watched)
    options = [{"name": "caching", "config": {"finish_on_disconnect": True}}, "responses_to_chat"]
    async with gated() as upstream, sidecar(tmp_path, cast(Any, upstream), options, **NAMED) as proxy:
        async with proxy.exchange(RESPONSES, asked(stream=True), {}) as exchange:
            call = await upstream.call()
            await call.begin(event_of("a"))
            await anext(exchange.chunks())
            exchange.disconnect()
            await exchange.wait_finished()
        await call.finish(event_of("b"))
        await asyncio.gather(*Watched.made[-1]._drains)
        answer = await proxy.ask(asked(stream=True), RESPONSES)
        assert upstream.count == 1
    assert (answer.cache, text(documents(answer)[-1]["response"])) == ("hit", "ab")


# -- streams ----------------------------------------------------------------------------------------------------------


async def test_events_are_told_while_the_model_server_still_writes(tmp_path) -> None:
    async with (
        gated() as upstream,
        sidecar(tmp_path, cast(Any, upstream), BRIDGED, **NAMED) as proxy,
        proxy.exchange(RESPONSES, asked(stream=True), {}) as exchange,
    ):
        call = await upstream.call()
        await call.begin(event_of("a"))
        assert b'"delta":"a"' in await anext(exchange.chunks())
        await call.finish()
        assert b"response.completed" in await exchange.read()


async def test_a_stream_that_breaks_ends_with_an_error_and_is_not_kept(proxy, server) -> None:
    whole = event_of("a")
    server.enqueue(Reply(chunks=[whole, whole], fault=Fault.CLOSE_IN_BODY))
    told = documents(await proxy.ask(asked(stream=True), RESPONSES))
    assert [event["type"] for event in told][-2:] == ["response.output_text.delta", "error"]
    assert told[-1]["code"] == "upstream_incomplete"
    assert (await proxy.ask(asked(stream=True), RESPONSES)).cache == "miss"


async def test_an_error_in_a_stream_is_not_kept(proxy, server) -> None:
    server.enqueue(Reply(chunks=[event_of("a"), b'data: {"error": {"message": "broken"}}\n\n', b"data: [DONE]\n\n"]))
    told = await proxy.ask(asked(stream=True), RESPONSES)
    assert kinds(told)[-2:] == ["response.failed", "error"]
    assert (await proxy.ask(asked(stream=True), RESPONSES)).cache == "miss"


async def test_a_server_that_does_not_stream_gets_its_document_through(proxy, server) -> None:
    plain = (await proxy.ask(chat())).json
    server.enqueue(Reply(json=plain))
    answer = await proxy.ask(asked(stream=True, seed=1), RESPONSES)
    assert answer.header("content-type") == "application/json"
    assert text(answer.json) == plain["choices"][0]["message"]["content"]


async def test_a_stream_without_done_is_a_whole_response(proxy, server) -> None:
    server.options.send_done = False
    assert kinds(await proxy.ask(asked(stream=True), RESPONSES))[-1] == "response.completed"


async def test_an_event_that_is_no_answer_ends_the_stream_with_an_error(proxy, server) -> None:
    server.enqueue(Reply(chunks=[event_of("a"), b"data: no json\n\n"]))
    told = documents(await proxy.ask(asked(stream=True), RESPONSES))
    assert (told[-1]["type"], told[-1]["code"]) == ("error", "answer_not_editable")


# -- log and ledger ---------------------------------------------------------------------------------------------------


async def test_the_log_has_what_the_client_asked_and_got_and_what_was_sent_on(proxy) -> None:
    answer = await proxy.ask(asked(store=True), RESPONSES)
    [row] = await proxy.rows()
    assert (row["path"], row["route"], row["cache"]) == (RESPONSES, "responses", "miss")
    assert json.loads(row["request_body"]) == asked(store=True)
    assert json.loads(row["sent_body"])["messages"] == [{"role": "user", "content": "hello"}]
    assert row["response_body"] == answer.body.decode()


@pytest.mark.parametrize("shape", [{}, {"stream": True}])
async def test_each_side_is_one_entry_with_both_hashes_and_what_was_not_carried(proxy, shape) -> None:
    answer = await proxy.ask(asked(store=True, metadata={"a": "b"}, **shape), RESPONSES)
    [row] = await proxy.rows()
    path, *bodies = row["changes"]
    assert (path["field"], path["from"], path["to"]) == ("path", RESPONSES, "/v1/chat/completions")
    assert [(item["interceptor"], item["on"], item["field"], item["why"]) for item in bodies] == [
        ("responses_to_chat", "request", "(body)", "responses as chat; not carried: metadata, store"),
        ("responses_to_chat", "answer", "(body)", "chat as responses"),
    ]
    assert all(str(item[side]).startswith("sha256:") for item in bodies for side in ("from", "to"))
    assert answer.header("x-evalside-changes") == "path, (body)"
    counted = (await proxy.get("/-/runs/default")).json["changes"]
    assert ("(body)", "responses as chat; not carried: metadata, store", 1) in [
        (item["field"], item["why"], item["requests"]) for item in counted
    ]


async def test_statistics_are_those_of_the_route_that_was_asked(proxy) -> None:
    answer = await proxy.ask(asked(max_output_tokens=2), RESPONSES)
    told = (await proxy.get("/-/runs/default")).json["statistics"]
    assert told["finish_reason"] == {"incomplete": 1}
    assert told["avg_completion_tokens"] == answer.json["usage"]["output_tokens"] == 2


# -- what cannot be carried over --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"strict": True}, {}])
async def test_strict_carries_all_of_it_or_refuses(tmp_path, server, settings) -> None:
    bridge = {"name": "responses_to_chat", "config": {} if settings else {"strict": True}}
    async with sidecar(tmp_path, server, [*LOGGED, bridge], **settings) as proxy:
        refused = await proxy.ask(asked(metadata={"a": "b"}), RESPONSES)
        assert proxy.calls == 0
        plain, streamed = await proxy.ask(asked(store=False), RESPONSES), await proxy.ask(asked(stream=True), RESPONSES)
    assert (refused.status, refused.json["error"]["code"]) == (400, "not_carried")
    assert "metadata" in refused.json["error"]["message"]
    assert refused.header("x-should-retry") == "false"
    assert plain.json["status"] == "completed"
    assert kinds(streamed)[-1] == "response.completed"


@pytest.mark.parametrize("fields", [{"background": True}, {"tools": [{"type": "web_search"}]}, {"conversation": "c"}])
async def test_what_would_change_the_answer_is_refused_without_strict_too(proxy, fields) -> None:
    refused = await proxy.ask(asked(**fields), RESPONSES)
    assert (refused.status, refused.json["error"]["code"]) == (400, "not_carried")
    assert next(iter(fields)) in refused.json["error"]["message"]
    assert proxy.calls == 0
    [row] = await proxy.rows()
    assert (row["route"], row["error"]) == ("responses", "not_carried")


async def test_errors_of_the_model_server_come_through(proxy, server) -> None:
    server.enqueue(Reply(status=429, json={"error": {"message": "slow down"}}))
    answer = await proxy.ask(asked(), RESPONSES)
    assert (answer.status, answer.json) == (429, {"error": {"message": "slow down"}})


# -- among other interceptors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_interceptors_further_out_see_the_clients_route_and_endpoint_the_servers(
    tmp_path, server, stream
) -> None:
    options = [
        {"name": "completions_to_chat", "config": {"user_template": "{{ prompt }}"}},
        {"name": "reasoning", "config": {"include_if_not_finished": False}},
        "finish_reason",
        {"name": "endpoint", "config": {"extra_body": {"top_k": 1}}},
    ]
    server.options.answer = "<think>hm</think>42"
    async with sidecar(tmp_path, server, [*LOGGED, *options]) as proxy:
        body = {"prompt": "6*7=", "max_tokens": 50, "temperature": 0, "stream": stream}
        answer = await proxy.ask(body, "/v1/completions")
        sent = proxy.last
    choices = [item["choices"][0] for item in map(json.loads, _data(answer.body))] if stream else answer.json["choices"]
    assert "".join(choice["text"] for choice in choices) == "42"
    assert "".join(choice.get("reasoning_content", "") for choice in choices) == "hm"
    assert sent["top_k"] == 1


def _data(body: bytes) -> list[bytes]:
    return [event.data for event in split(body).events if event.data != b"[DONE]"]


async def test_a_stream_asked_for_by_the_sidecar_is_put_together(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, [*BRIDGED, "streaming"]) as proxy:
        answer = await proxy.ask(asked(), RESPONSES)
        assert proxy.last["stream"] is True
    assert answer.json["status"] == "completed"
    assert answer.json["usage"]["output_tokens"] > 0


async def test_a_system_message_is_added_to_what_the_client_asked(tmp_path, server) -> None:
    system = {"name": "system_message", "config": {"system_message": "Be kind."}}
    async with sidecar(tmp_path, server, ["responses_to_chat", system]) as proxy:
        answer = await proxy.ask(asked(), RESPONSES)
        sent: Any = proxy.last
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
    assert answer.json["instructions"] == "Be kind."


async def test_normalize_fits_the_chat_to_the_server(tmp_path, server) -> None:
    fitted = {"name": "normalize", "config": {"dialect": "transformers", "on_unsupported": "drop"}}
    async with sidecar(tmp_path, server, [*BRIDGED, fitted], **NAMED) as proxy:
        answer = await proxy.ask(asked(stream=True, parallel_tool_calls=True), RESPONSES)
        assert proxy.last.keys() == {"model", "messages", "temperature", "stream"}
        [row] = await proxy.rows()
    assert kinds(answer)[-1] == "response.completed"
    on_request = [item["interceptor"] for item in row["changes"] if item["on"] == "request"]
    assert on_request[:2] == ["responses_to_chat"] * 2
    assert set(on_request[2:]) == {"normalize"}


async def test_the_order_in_the_configuration_does_not_matter(tmp_path, server) -> None:
    async def fingerprint(interceptors: list[Any]) -> str | None:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        async with sidecar(folder, server, interceptors) as proxy:
            assert isinstance(proxy, Sidecar)
            return (await proxy.ask(asked(), RESPONSES)).header("x-evalside-pipeline")

    listed = ["responses_to_chat", "caching", "finish_reason"]
    assert await fingerprint(listed) == await fingerprint(listed[::-1])
