from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging

import pytest

from proxy.testing import Fault, Reply
from proxy.upstream.address import parse_address
from proxy.upstream.identity import FRESH, IdentityWatch
from proxy.upstream.transport import AiohttpTransport
from proxy.wire.identity import PATHS

MODEL = "mock-model"
SIGN = "metrics.process_start_time_seconds"
INSTANCE = b"process_start_time_seconds 1.5e+09\n"


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gated:
    """A vLLM-like server on the test's own loop. With the gate shut it takes requests and does not answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies = {
            "/v1/models": b'{"data":[{"id":"m","owned_by":"vllm","root":"r"}]}',
            "/version": b'{"version":"1"}',
            "/metrics": INSTANCE,
            "/v1/chat/completions": b'{"choices":[{"message":{"content":"four"}}]}',
        }
        self.chat_gate = asyncio.Event()
        self.chat_arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.on_probe = lambda: None

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                self.asked.append(path)
                self.arrived.set()
                if path == "/v1/models":
                    self.on_probe()
                await self.gate.wait()
                if b"POST" in head:
                    await reader.readuntil(b"}]}")
                    self.chat_arrived.set()
                    await self.chat_gate.wait()
                body = self.bodies.get(path)
                status = b"404 Not Found" if body is None else b"200 OK"
                body = body or b""
                closing = b"Connection: close\r\n" if b"Connection: close" in head else b""
                writer.write(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, closing, len(body), body))
                if closing:
                    break
        writer.close()

    def probes(self) -> int:
        return self.asked.count("/v1/models")


@contextlib.asynccontextmanager
async def gated():
    """A gated server and its URL."""
    handler = Gated()
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        yield handler, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        handler.gate.set()


class Watch(IdentityWatch):
    """Tells the test when it hears that an idle connection ended."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.heard = asyncio.Event()

    def lapse(self) -> None:
        super().lapse()
        self.heard.set()


@contextlib.asynccontextmanager
async def watching(url, **options):
    """A watch that hears of its transport's failures."""
    async with AiohttpTransport() as transport:
        watch = Watch(transport, parse_address(url), **options)
        transport.on_doubt, transport.on_lapse = watch.doubt, watch.lapse
        try:
            yield watch
        finally:
            await watch.aclose()


async def settled() -> None:
    """Let everything that can run now run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_namespace_takes_the_place_of_everything(model_server):
    server = model_server()
    async with watching(server.url, namespace="run-7", canary="Hi") as watch:
        identity = await watch.current([], MODEL)
        assert identity is not None
        assert (identity.name, identity.server, dict(identity.facts)) == ("run-7", "namespace", {})
        watch.doubt()
        assert await watch.confirmed(identity, [], MODEL)
    assert server.requests_total == 0


async def test_the_identity_is_made_of_url_kind_and_facts(model_server):
    server = model_server(version="0.11.0", root="org/model")
    async with watching(server.url) as watch:
        identity = await watch.current([], MODEL)
    assert identity is not None
    url, kind, digest = identity.name.split(" ")
    assert (url, kind, len(digest)) == (f"{server.url}/v1", "vllm", 64)
    assert identity.server == "vllm"
    assert identity.facts["models[mock-model].root"] == "org/model"
    assert identity.facts["version.version"] == "0.11.0"
    assert SIGN in identity.facts
    async with watching(server.url) as another:
        assert await another.current([], MODEL) == identity


async def test_a_server_that_tells_nothing_is_its_url(model_server):
    server = model_server()
    for path in PATHS:
        server.on(path.decode(), Reply(404, json={"error": "no"}))
    async with watching(server.url) as watch:
        identity = await watch.current([], MODEL)
        assert identity is not None
        assert (identity.name, identity.server, dict(identity.facts)) == (f"{server.url}/v1", "unknown", {})
        assert await watch.confirmed(identity, [], MODEL)


async def test_the_first_probe_asks_everything_and_later_ones_only_what_told_something(model_server):
    server = model_server()
    async with watching(server.url) as watch:
        identity = await watch.current([], MODEL)
        assert {request.path.encode() for request in server.requests} == set(PATHS)
        assert all(request.method == "GET" for request in server.requests)
        server.clear()
        assert await watch.confirmed(identity, [], MODEL)
        assert sorted(request.path for request in server.requests) == ["/metrics", "/v1/models", "/version"]
        server.clear()
        watch.doubt()
        assert await watch.current([], MODEL) == identity
        assert {request.path.encode() for request in server.requests} == set(PATHS)
        server.clear()
        watch.lapse()
        assert await watch.current([], MODEL) == identity
        assert server.requests_total == 3


async def test_a_fresh_probe_costs_nothing_and_only_the_next_one_keeps_it_fresh(model_server):
    server, clock = model_server(), Clock()
    async with watching(server.url, clock=clock) as watch:
        identity = await watch.current([], MODEL)
        server.clear()
        clock.now += FRESH - 1
        with pytest.raises(StopIteration) as returned:  # it does not suspend
            watch.current([], MODEL).send(None)
        assert returned.value.value is identity
        assert server.requests_total == 0
        assert await watch.confirmed(identity, [], MODEL)
        assert server.requests_total == 3
        clock.now += FRESH - 1
        assert await watch.current([], MODEL) is identity
        assert server.requests_total == 3
        clock.now += 1
        assert await watch.current([], MODEL) is identity
        assert server.requests_total == 6


async def test_a_restarted_server_is_another(model_server, caplog):
    server = model_server()
    async with watching(server.url) as watch:
        first = await watch.current([], MODEL)
        server.stop()
        await watch.heard.wait()
        assert await watch.current([], MODEL) is None
        server.start()
        second = await watch.current([], MODEL)
        assert second is not None
        assert not await watch.confirmed(first, [], MODEL)
        assert await watch.confirmed(second, [], MODEL)
    assert first.name != second.name
    assert {name for name in first.facts if first.facts[name] != second.facts[name]} == {SIGN}
    away, record = caplog.records
    message = record.getMessage()
    assert f"what runs at {server.url}/v1 cannot be known" in away.getMessage()
    assert (record.name, record.levelno) == ("evalside", logging.WARNING)
    assert f"the server was restarted ({SIGN} {first.facts[SIGN]} -> {second.facts[SIGN]})" in message
    assert f"upstream.namespace to '{first.name}'" in message
    assert "upstream.canary" in message


async def test_a_quiet_restart_is_noticed_by_the_connection_that_ends(model_server):
    """Nothing was asked meanwhile and little time has passed: only the end of an idle connection tells of it."""
    server, clock = model_server(), Clock()
    async with watching(server.url, clock=clock) as watch:
        first = await watch.current([], MODEL)
        server.stop()
        server.start()
        await watch.heard.wait()
        second = await watch.current([], MODEL)
    assert first.name != second.name


async def test_another_model_under_the_same_name_is_told_from_which_facts(model_server, caplog):
    server = model_server(root="org/first")
    async with watching(server.url) as watch:
        first = await watch.current([], MODEL)
        server.options.root = "org/second"
        for _ in range(3):
            assert not await watch.confirmed(first, [], MODEL)
        second = await watch.current([], MODEL)
        server.options.root = "org/first"
        assert await watch.confirmed(first, [], MODEL)
        server.options.root = "org/second"
        assert await watch.confirmed(second, [], MODEL)
    changed, back = (record.getMessage() for record in caplog.records)
    assert "the model changed (models[mock-model].root org/first -> org/second)" in changed
    assert "answers stored before are not served any more" in changed
    assert "upstream.canary" not in changed
    assert "org/second -> org/first" in back


async def test_a_server_has_the_same_identity_whatever_was_there_before_it(model_server):
    """A probe that sees a change asks all routes, also those that the server before did not have."""
    server = model_server()
    absent = Reply(404, json={})
    server.on("/metrics", absent)
    server.on("/version", absent)
    async with watching(server.url) as watch:
        first = await watch.current([], MODEL)
        assert set(first.facts) == {f"models[mock-model].{name}" for name in ("owned_by", "root", "max_model_len")}
        server.on("/metrics", None)
        server.on("/version", None)
        server.options.root = "org/other"
        assert not await watch.confirmed(first, [], MODEL)
        second = await watch.current([], MODEL)
    async with watching(server.url) as another:
        assert await another.current([], MODEL) == second


@pytest.mark.parametrize(
    "reply",
    [
        *(Reply(status, json={"error": {"message": "Loading model"}}) for status in (429, 502, 503, 504)),
        Reply(fault=Fault.CLOSE_BEFORE_ANSWER),
        Reply(fault=Fault.RESET_BEFORE_ANSWER),
        Reply(json={"data": []}, fault=Fault.CLOSE_IN_BODY),
        Reply(fault=Fault.GARBAGE),
    ],
    ids=lambda reply: reply.fault.value if reply.fault else str(reply.status),
)
@pytest.mark.parametrize("path", ["/v1/models", "/props"])
async def test_a_server_that_cannot_answer_now_is_not_known(model_server, path, reply):
    server = model_server()
    async with watching(server.url) as watch:
        server.on(path, reply)
        assert await watch.current([], MODEL) is None
        server.on(path, None)
        identity = await watch.current([], MODEL)
        assert identity is not None
        server.on("/v1/models", reply)
        assert not await watch.confirmed(identity, [], MODEL)
        assert await watch.current([], MODEL) is None


async def test_a_route_that_is_not_answered_in_time_is_not_known(model_server, monkeypatch):
    monkeypatch.setattr("proxy.upstream.probe.PATIENCE", 0.05)
    server = model_server()
    server.on("/props", Reply(fault=Fault.STALL_IN_BODY, json={"build_info": "b1"}))
    async with watching(server.url) as watch:
        assert await watch.current([], MODEL) is None


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 422, 500, 501])
async def test_other_statuses_tell_nothing(model_server, status):
    server = model_server()
    server.on("/version", Reply(status, json={"version": "9"}))
    async with watching(server.url) as watch:
        identity = await watch.current([], MODEL)
        assert "version.version" not in identity.facts


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_route_that_told_something_and_now_refuses_leaves_the_identity_unknown(model_server, status):
    """Another client's wrong key must not look like another server."""
    server = model_server()
    async with watching(server.url) as watch:
        identity = await watch.current([], MODEL)
        server.on("/v1/models", Reply(status, json={}))
        assert not await watch.confirmed(identity, [], MODEL)
        assert await watch.current([], MODEL) is None
        server.on("/v1/models", None)
        assert await watch.current([], MODEL) == identity


async def test_compressed_and_endless_answers(model_server):
    server = model_server()
    server.on("/version", Reply(json={"version": "9"}, gzip=True, headers={"content-encoding": "gzip"}))
    server.on("/info", Reply(json={"model_id": "m", "filling": "x" * 2**20}))
    server.on("/metrics", Reply(chunks=[INSTANCE, b"more\n"], fault=Fault.STALL_IN_BODY, after_chunks=1))
    async with watching(server.url) as watch:
        identity = await watch.current([], MODEL)
    assert identity.facts["version.version"] == "9"
    assert "info.model_id" not in identity.facts
    assert identity.facts[SIGN] == "1.5e+09"


# -- confirmations -----------------------------------------------------------------------------------------------------


async def test_confirmations_share_one_probe_that_begins_after_them():
    async with gated() as (server, url), watching(url) as watch:
        before = await watch.current([], "m")
        server.gate.clear()
        server.arrived.clear()
        server.asked.clear()
        early = [asyncio.create_task(watch.confirmed(before, [], "m")) for _ in range(50)]
        await server.arrived.wait()
        late = [asyncio.create_task(watch.confirmed(before, [], "m")) for _ in range(50)]
        await settled()
        assert server.probes() == 1
        server.bodies["/version"] = b'{"version":"2"}'  # both probes see it, and the first one already was asked
        server.gate.set()
        assert await asyncio.gather(*early, *late) == [False] * 100
        # The first saw a change and asked everything, the second confirmed it.
        assert server.probes() == 3


async def test_a_confirmation_does_not_take_a_probe_that_began_before_it():
    async with gated() as (server, url), watching(url) as watch:
        before = await watch.current([], "m")
        server.gate.clear()
        server.arrived.clear()
        early = asyncio.create_task(watch.confirmed(before, [], "m"))
        await server.arrived.wait()
        late = asyncio.create_task(watch.confirmed(before, [], "m"))
        await settled()
        server.gate.set()
        assert await early
        server.bodies["/version"] = b'{"version":"2"}'
        assert not await late


async def test_confirmations_are_few_while_answers_stream_in():
    async with gated() as (server, url), watching(url) as watch:
        loop = asyncio.get_running_loop()
        before = await watch.current([], "m")
        server.asked.clear()
        began = loop.time()
        for _ in range(5):
            assert all(await asyncio.gather(*(watch.confirmed(before, [], "m") for _ in range(200))))
        assert server.probes() == 5
        assert loop.time() - began >= 4 * 0.02


async def test_a_lookup_does_not_wait_for_the_distance_between_probes():
    async with gated() as (_, url), watching(url, clock=Clock()) as watch:
        before = await watch.current([], "m")
        watch._gap = 1e6
        confirmation = asyncio.create_task(watch.confirmed(before, [], "m"))
        await settled()
        assert not confirmation.done()
        watch.doubt()
        assert await watch.current([], "m") == before
        assert await confirmation


async def test_lookups_share_a_probe_that_already_runs():
    async with gated() as (server, url), watching(url) as watch:
        server.gate.clear()
        first = asyncio.create_task(watch.current([], "m"))
        await server.arrived.wait()
        others = [asyncio.create_task(watch.current([], "m")) for _ in range(20)]
        await settled()
        server.gate.set()
        assert len({identity.name for identity in await asyncio.gather(first, *others)}) == 1
        assert server.probes() == 1


async def test_a_doubt_during_a_probe_asks_again():
    async with gated() as (server, url), watching(url) as watch:
        server.gate.clear()
        first = asyncio.create_task(watch.current([], "m"))
        await server.arrived.wait()
        watch.doubt()
        server.gate.set()
        assert await first is not None
        assert server.probes() == 2


async def test_no_identity_while_there_is_one_doubt_after_the_other():
    async with gated() as (server, url), watching(url) as watch:
        server.on_probe = watch.doubt
        assert await watch.current([], "m") is None
        assert server.probes() == 2


async def test_a_cancelled_caller_does_not_end_the_probe_of_the_others():
    async with gated() as (server, url), watching(url) as watch:
        server.gate.clear()
        gone, stays = (asyncio.create_task(watch.current([], "m")) for _ in range(2))
        await server.arrived.wait()
        gone.cancel()
        await settled()
        server.gate.set()
        assert await stays is not None
        assert gone.cancelled()


async def test_closing_ends_the_probe_and_tells_who_waits():
    async with gated() as (server, url), watching(url) as watch:
        before = await watch.current([], "m")
        server.gate.clear()
        server.arrived.clear()
        running = asyncio.create_task(watch.confirmed(before, [], "m"))
        await server.arrived.wait()
        waiting = asyncio.create_task(watch.confirmed(before, [], "m"))
        await settled()
        await watch.aclose()
        assert not any(await asyncio.gather(running, waiting))
        assert not [task for task in asyncio.all_tasks() if "_probe_while_wanted" in repr(task)]


async def test_a_probe_leaves_one_connection_open():
    """Each of the others would end some time later, and look like a server that stops."""
    async with gated() as (_, url), watching(url) as watch:
        await watch.current([], "m")
        await settled()
        assert not watch._lapsed
        assert watch._doubts == 0


# -- credentials -------------------------------------------------------------------------------------------------------

CLIENT = [
    (b"authorization", b"Bearer sk-client"),
    (b"x-api-key", b"sk-client"),
    (b"api-key", b"sk-client"),
    (b"openai-organization", b"org-1"),
    (b"openai-project", b"proj-1"),
    (b"cookie", b"session=sk-client"),
    (b"content-type", b"application/json"),
    (b"content-length", b"7"),
]


async def test_the_client_s_credentials_are_sent_and_kept_nowhere(model_server, caplog):
    caplog.set_level(logging.DEBUG, "evalside")
    server = model_server(api_key="sk-client")
    async with watching(server.url) as watch:
        identity = await watch.current(CLIENT, MODEL)
        [asked] = server.requests_to("/v1/models")
        assert asked.header("authorization") == "Bearer sk-client"
        assert asked.header("openai-project") == "proj-1"
        assert (asked.header("cookie"), asked.header("content-type")) == (None, None)
        server.on("/version", Reply(503))
        assert not await watch.confirmed(identity, CLIENT, MODEL)
        server.on("/version", None)
        server.options.root = "other"
        assert not await watch.confirmed(identity, CLIENT, MODEL)
    assert "models[mock-model].root" in identity.facts
    assert "sk-client" not in repr(dataclasses.asdict(identity)) + repr(identity) + repr(watch) + caplog.text


async def test_a_configured_key_takes_the_place_of_the_client_s(model_server):
    server = model_server(api_key="sk-configured")
    async with watching(server.url, api_key="sk-configured") as watch:
        assert await watch.current([(b"authorization", b"Bearer sk-client")], MODEL) is not None
    [asked] = server.requests_to("/v1/models")
    assert asked.header_values("authorization") == ["Bearer sk-configured"]


# -- canary ------------------------------------------------------------------------------------------------------------


async def test_a_canary_takes_the_place_of_the_sign_of_the_instance(model_server, caplog):
    server = model_server(answer="four")
    async with watching(server.url, canary="2+2?") as watch:
        first = await watch.current([], MODEL)
        assert await watch.confirmed(first, [], MODEL)
        [asked] = server.generation_requests
        assert asked.path == "/v1/chat/completions"
        assert asked.json == {
            "model": MODEL,
            "messages": [{"role": "user", "content": "2+2?"}],
            "temperature": 0,
            "max_tokens": 32,
        }
        assert SIGN not in first.facts
        assert len(first.facts["canary"]) == 64
        server.stop()
        server.start()
        watch.doubt()
        assert await watch.current([], MODEL) == first
        assert len(server.generation_requests) == 2
        server.stop()
        server.options.answer = "five"
        server.start()
        watch.doubt()
        assert (await watch.current([], MODEL)).name != first.name
    [record] = caplog.records
    assert "the model changed (canary" in record.getMessage()


async def test_an_identity_that_was_overtaken_while_the_canary_was_asked_is_not_used():
    async with gated() as (server, url), watching(url, canary="2+2?") as watch:
        slow = asyncio.create_task(watch.current([], "m"))
        await server.chat_arrived.wait()
        server.bodies["/version"] = b'{"version":"2"}'
        watch.doubt()
        overtaking = asyncio.create_task(watch.current([], "m"))
        while server.probes() < 2:
            server.arrived.clear()
            await server.arrived.wait()
        server.chat_gate.set()
        first, second = await asyncio.gather(slow, overtaking)
        assert first is None
        assert second.facts["version.version"] == "2"
        assert await watch.current([], "m") == second


async def test_a_canary_is_asked_once_for_each_model_and_instance(model_server):
    server = model_server()
    async with watching(server.url, canary="Hi") as watch:
        await asyncio.gather(*(watch.current([], model) for model in [MODEL, "other"] * 10))
        assert sorted(request.json["model"] for request in server.generation_requests) == [MODEL, "other"]
        assert await watch.current([], None) is not None
        assert "model" not in server.generation_requests[-1].json


@pytest.mark.parametrize("status", [404, 405])
async def test_a_server_without_chat_is_asked_for_a_completion(model_server, status):
    server = model_server(answer="four")
    server.on("/v1/chat/completions", Reply(status, json={}))
    async with watching(server.url, canary="2+2?") as watch:
        identity = await watch.current([], MODEL)
    assert "canary" in identity.facts
    assert server.generation_requests[-1].path == "/v1/completions"
    assert server.generation_requests[-1].json == {
        "model": MODEL,
        "prompt": "2+2?",
        "temperature": 0,
        "max_tokens": 32,
    }


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(400, json={"error": {}}), "/v1/chat/completions answered 400"),
        (Reply(404, json={"error": {}}), "/v1/completions answered 404"),
        (Reply(json={"choices": []}), "answered 200 without text"),
        (Reply(fault=Fault.CLOSE_BEFORE_ANSWER), "closed the connection"),
    ],
)
async def test_a_canary_that_cannot_be_asked_leaves_the_identity_unknown(model_server, caplog, reply, reason):
    server = model_server()
    server.on("/v1/chat/completions", reply)
    server.on("/v1/completions", reply)
    async with watching(server.url, canary="Hi") as watch:
        assert await watch.current([], MODEL) is None
        assert await watch.current([], MODEL) is None
        [record] = caplog.records
        assert "upstream.canary could not be asked" in record.getMessage()
        assert reason in record.getMessage()
        server.on("/v1/chat/completions", None)
        watch.doubt()
        assert await watch.current([], MODEL) is not None


async def test_invented_model_names_do_not_fill_the_memory(model_server):
    server = model_server()
    async with watching(server.url) as watch:
        for number in range(600):
            assert await watch.current([], f"m{number}") is not None
        assert len(watch._last) <= 256


async def test_the_facts_of_a_probe_are_json():
    """They are kept in the store."""
    async with gated() as (_, url), watching(url) as watch:
        identity = await watch.current([], "m")
        assert json.loads(json.dumps(dict(identity.facts))) == identity.facts
