from __future__ import annotations

import json
import logging

import pytest

from proxy.testing import Fault, Reply
from proxy.upstream.identity import FRESH
from proxy.wire.identity import PATHS
from tests.unit.upstream.watching import INSTANCE, MODEL, SIGN, Clock, gated, watching


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


async def test_identities_on_record_may_be_of_this_server(model_server):
    server = model_server()
    async with watching(server.url) as watch, watching(server.url, namespace="n", canary="Hi") as named:
        url = f"{server.url}/v1"
        assert [watch.knows(name) for name in (url, f"{url} vllm 0", f"{url}2 vllm 0", "n")] == [
            True,
            True,
            False,
            False,
        ]
        assert [named.knows(name) for name in (url, "n", "nn")] == [False, True, False]
        assert (watch.generates, named.generates) == (False, False)
    async with watching(server.url, canary="Hi") as asking:
        assert asking.generates


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


async def test_what_the_server_tells_is_asked_for_under_a_namespace_too(model_server):
    server = model_server()
    async with watching(server.url, namespace="run-7") as watch:
        told = await watch.server([])
        assert told is not None
        assert (told.server, told.of(MODEL)["models[mock-model].max_model_len"]) == ("vllm", "131072")
        asked = server.requests_total
        assert await watch.server([]) is told
        assert server.requests_total == asked
        server.on("/v1/models", Reply(503))
        watch.doubt()
        assert await watch.server([]) is None
