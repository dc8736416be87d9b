"""The ledger through the whole sidecar: in the answer's headers, in the log, and counted for the run."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import CHAT, chat, sidecar
from tests.ledgers import played

MODIFIER = {
    "name": "payload_modifier",
    "config": {"params_to_remove": ["seed"], "params_to_add": {"top_p": 0.5}, "headers_to_add": {"x-lab": "a"}},
}


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def entry(field: str, **sides: Any) -> dict[str, Any]:
    told = {"interceptor": "payload_modifier", "on": "request", "field": field, **sides}
    return {**told, "why": "configured", "times": 1}


async def test_changes_are_named_in_the_answer_and_kept_with_the_exchange(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, ["request_logging", MODIFIER]) as proxy:
        answered = await proxy.ask(chat(seed=1))
        [row] = await proxy.rows()
    assert answered.header("x-evalside-changes") == "header:x-lab, seed, top_p"
    assert row["changes"] == [entry("header:x-lab", to="a"), entry("seed", **{"from": 1}), entry("top_p", to=0.5)]


async def test_without_a_change_there_is_no_header_and_no_entry(tmp_path, server) -> None:
    options = {"name": "payload_modifier", "config": {"params_to_remove": ["seed"]}}
    async with sidecar(tmp_path, server, ["request_logging", options]) as proxy:
        answered = await proxy.ask(chat())
        [row] = await proxy.rows()
        counted = (await proxy.get("/-/runs/default")).json["changes"]
    assert answered.header("x-evalside-changes") is None
    assert row["changes"] == []
    assert counted == []


async def test_transforms_have_their_ledger_without_any_logging(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, [MODIFIER]) as proxy:
        await proxy.ask(chat(seed=1))
        [row] = await proxy.rows()
    assert [change["field"] for change in row["changes"]] == ["header:x-lab", "seed", "top_p"]
    assert (row["status"], row["request_body"]) == (200, None)


async def test_only_what_observes_keeps_no_row(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, ["caching"]) as proxy:
        await proxy.ask(chat())
        assert await proxy.rows() == []


async def test_a_run_counts_the_requests_that_were_changed(tmp_path, server) -> None:
    messages = [{"role": "user", "content": "x", "name": "a"}, {"role": "user", "content": "y", "name": "b"}]
    options = {"name": "payload_modifier", "config": {"params_to_remove": ["seed", "messages[].name"]}}
    async with sidecar(tmp_path, server, [options]) as proxy:
        for body in (chat(seed=1), chat(messages=messages), chat()):
            await proxy.ask(body, x_evalside_run="r1")
        await proxy.ask(chat(seed=1), x_evalside_run="r2")
        first = (await proxy.get("/-/runs/r1")).json
        await proxy.ask(b"{}", "/-/runs/r1")
        await proxy.ask(chat(seed=1), x_evalside_run="r1")
        second = (await proxy.get("/-/runs/r1")).json
        again = (await proxy.get("/-/runs/r1?pass=0")).json
    removed = {
        "interceptor": "payload_modifier",
        "on": "request",
        "what": "removed",
        "why": "configured",
        "requests": 1,
    }
    assert first["changes"] == [{**removed, "field": "messages[].name", "of": 3}, {**removed, "field": "seed", "of": 3}]
    assert second["changes"] == [{**removed, "field": "seed", "of": 1}]
    assert again["changes"] == first["changes"]


async def test_a_deleted_run_takes_its_counts_along(tmp_path, server) -> None:
    async with sidecar(tmp_path, server, [MODIFIER]) as proxy:
        await proxy.ask(chat(seed=1), x_evalside_run="r1")
        async with proxy.exchange("/-/runs/r1", b"", {}, "DELETE") as exchange:
            assert (await exchange.start()).status == 200
        await proxy.ask(chat(), x_evalside_run="r1")
        counted = (await proxy.get("/-/runs/r1")).json["changes"]
    assert [(item["field"], item["of"]) for item in counted] == [("header:x-lab", 1), ("top_p", 1)]


async def test_secrets_are_not_in_it(tmp_path, server) -> None:
    config = {"headers_to_remove": ["authorization"], "params_to_add": {"echoed": "sk-client-secret"}}
    async with sidecar(tmp_path, server, [{"name": "payload_modifier", "config": config}]) as proxy:
        await proxy.ask(chat(), authorization="Bearer sk-client-secret")
        [row] = await proxy.rows()
    assert [(item["field"], item.get("from"), item.get("to")) for item in row["changes"]] == [
        ("header:authorization", "[redacted]", None),
        ("echoed", None, "[redacted]"),
    ]


async def test_large_values_are_kept_by_their_hash(tmp_path, server) -> None:
    config = {"params_to_add": {"text": "x" * 5000, "deep": json.loads("[" * 210 + "]" * 210)}}
    async with sidecar(tmp_path, server, [{"name": "payload_modifier", "config": config}]) as proxy:
        await proxy.ask(chat())
        [row] = await proxy.rows()
    kept = {item["field"]: item for item in row["changes"]}
    assert kept["text"]["to_hash"]["bytes"] == 5002
    assert kept["deep"]["to_hash"]["bytes"] == 420
    assert "to" not in kept["text"]


async def test_many_changes_do_not_make_a_large_header(tmp_path, server) -> None:
    config = {"params_to_add": {f"parameter_{number:04}": 1 for number in range(500)}}
    async with sidecar(tmp_path, server, [{"name": "payload_modifier", "config": config}]) as proxy:
        answered = await proxy.ask(chat())
        [row] = await proxy.rows()
    named = answered.header("x-evalside-changes")
    assert named is not None
    assert len(named) <= 2000
    assert named.split(", ")[0] == "parameter_0000"
    assert named.endswith(", ...")
    assert len(row["changes"]) == 500


@pytest.mark.parametrize("own", [True, False])
async def test_strict_refuses_what_would_be_changed(tmp_path, server, own) -> None:
    modifier = {**MODIFIER, "config": {"params_to_remove": ["seed"], **({"strict": True} if own else {})}}
    async with sidecar(tmp_path, server, ["request_logging", modifier], strict=not own) as proxy:
        refused = await proxy.ask(chat(seed=1))
        assert proxy.calls == 0
        passed = await proxy.ask(chat())
        rows = await proxy.rows()
    assert (refused.status, refused.json["error"]["code"]) == (400, "change_refused")
    assert "'payload_modifier' would change the request (seed)" in refused.json["error"]["message"]
    assert refused.header("x-should-retry") == "false"
    assert passed.status == 200
    assert [row["error"] for row in rows] == ["change_refused", None]


async def test_an_interceptor_may_be_let_off_strict(tmp_path, server) -> None:
    aliases = {"model_aliases": {"m": "served"}}
    endpoint = {"name": "endpoint", "config": {"strict": False}}
    async with sidecar(tmp_path, server, [endpoint], strict=True, upstream=aliases) as proxy:
        answered = await proxy.ask(chat())
        assert answered.header("x-evalside-changes") == "model"
        assert proxy.last["model"] == "served"


NAMES = st.sampled_from(["seed", "stop", "user", "n", "messages[].name", "extra.a"])
VALUES = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2) | st.lists(st.integers(0, 3), max_size=3)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    removed=st.lists(NAMES, max_size=3, unique=True),
    added=st.dictionaries(st.sampled_from(["seed", "extra.a", "extra.b", "top_k"]), VALUES, max_size=3),
    fields=st.dictionaries(st.sampled_from(["seed", "stop", "user", "extra"]), VALUES, max_size=4),
)
async def test_what_was_sent_is_what_was_received_and_the_ledger(tmp_path, server, removed, added, fields) -> None:
    fields = {**fields, "extra": {"a": fields.get("extra")}}
    options = {"name": "payload_modifier", "config": {"params_to_remove": removed, "params_to_add": added}}
    async with sidecar(tmp_path, server, [options]) as proxy:
        received = chat(**fields, messages=[{"role": "user", "content": "x", "name": "a"}])
        answered = await proxy.ask(received)
        sent = proxy.last
        row = (await proxy.get(f"/-/exchanges/{answered.header('x-evalside-id')}")).json
    assert played(received, row["changes"]) == sent


@pytest.mark.parametrize("stream", [True, False])
async def test_hits_are_changed_like_live_answers_and_have_the_same_entries(tmp_path, server, stream) -> None:
    thought = {"index": 0, "finish_reason": "stop"}
    if stream:
        chunk = {"choices": [{**thought, "delta": {"content": "<think>hm</think>42"}}]}
        server.on(CHAT, Reply(chunks=[f"data: {json.dumps(chunk)}\n\n".encode(), b"data: [DONE]\n\n"]))
    else:
        server.on(CHAT, Reply(json={"choices": [{**thought, "message": {"content": "<think>hm</think>42"}}]}))
    async with sidecar(tmp_path, server, ["caching", "reasoning"]) as proxy:
        body = chat(stream=stream)
        live, hit = await proxy.ask(body), await proxy.ask(body)
        rows = await proxy.rows()
    assert (live.cache, hit.cache) == ("miss", "hit")
    assert live.body == hit.body
    assert b"<think>" not in live.body
    said = "delta" if stream else "message"
    fields = [f"choices[0].{said}.content", f"choices[0].{said}.reasoning_content"]
    assert [[change["field"] for change in row["changes"]] for row in rows] == [fields, fields]
