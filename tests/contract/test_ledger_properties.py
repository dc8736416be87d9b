"""Whatever transforms are configured, the body that was sent is the body that was received and the ledger; and the
answer that the client got is the server's and the ledger.
"""

import json
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.pipeline import Layer, compose
from proxy.core.stream import Outcome
from proxy.plugins import BUILT_IN, build, find_plugin, plan
from proxy.settings import InterceptorSpec
from proxy.store.memory import MemoryStore
from proxy.testing import ModelServer, Reply
from tests.built_in import TRANSLATORS
from tests.contract.sidecar import CHAT, sidecar
from tests.ledgers import played
from tests.unit.interceptors.alone import services

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([1.5, 2**70, "", "a", "é\u2028"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b c", "d.e"]), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["seed", "stop", "user", "n", "top_k"])
TEXTS = st.sampled_from(["a", "be brief", "é\u2028😀", "line\nline"])

OPTIONS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "system_message": st.fixed_dictionaries(
        {
            "system_message": TEXTS,
            "strategy": st.sampled_from(["prepend", "append", "replace"]),
            "separate": st.booleans(),
        }
    ),
    "consolidate_system": st.fixed_dictionaries({"separator": TEXTS}),
    "payload_modifier": st.fixed_dictionaries(
        {
            "params_to_remove": st.lists(
                NAMES | st.sampled_from(["messages[].name", "extra.a", "name"]), max_size=3, unique=True
            ),
            "params_to_rename": st.dictionaries(NAMES, st.sampled_from(["x", "y", "seed2"]), max_size=1),
            "add_before_rename": st.booleans(),
            "params_to_add": st.dictionaries(NAMES | st.sampled_from(["extra.a", "extra.new.b"]), VALUES, max_size=3),
            "headers_to_add": st.dictionaries(st.sampled_from(["x-a", "x-b"]), st.just("1"), max_size=2),
        }
    ),
    "drop_params": st.fixed_dictionaries({"params": st.lists(NAMES, max_size=3, unique=True)}),
    "modify_tools": st.fixed_dictionaries(
        {
            "strip_properties": st.lists(st.sampled_from(["a", "b", "city"]), max_size=2, unique=True),
            "add_properties": st.dictionaries(st.sampled_from(["new", "city"]), VALUES, max_size=2),
        }
    ),
    "turn_counter": st.fixed_dictionaries(
        {
            "max_turns": st.integers(3, 5) | st.none(),
            "position": st.sampled_from(["system_message", "user_message"]),
            "trigger": st.sampled_from(["threshold", "periodic"]),
        }
    ),
    "reasoning_replay": st.fixed_dictionaries({"mode": st.sampled_from(["think_tags", "native", "both"])}),
    "reasoning": st.fixed_dictionaries(
        {
            "include_if_not_finished": st.booleans(),
            "require_start_token": st.booleans(),
            "discard_reasoning": st.booleans(),
        }
    ),
    "finish_reason": st.just({}),
    "streaming": st.just({}),
    "endpoint": st.fixed_dictionaries({"extra_body": st.dictionaries(NAMES, VALUES, max_size=2)}),
}
"""Options of every built-in transform."""

SYSTEM = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer"]),
        "content": TEXTS | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=2),
    }
)
USER = st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}, optional={"name": TEXTS})
ASSISTANT = st.fixed_dictionaries({"role": st.just("assistant"), "content": st.sampled_from(["4", "5"])})
TOOL = st.fixed_dictionaries(
    {
        "type": st.just("function"),
        "function": st.fixed_dictionaries(
            {
                "name": st.just("f"),
                "parameters": st.fixed_dictionaries(
                    {
                        "properties": st.dictionaries(st.sampled_from(["a", "b", "city"]), VALUES, max_size=3),
                        "required": st.lists(st.sampled_from(["a", "b", "city"]), max_size=3),
                    }
                ),
            }
        ),
    }
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.lists(SYSTEM | USER | ASSISTANT, max_size=4)},
    optional={
        "seed": VALUES,
        "stop": VALUES,
        "user": VALUES,
        "extra": st.dictionaries(st.sampled_from(["a", "b c"]), VALUES, max_size=2),
        "tools": st.lists(TOOL, max_size=2),
        "max_tokens": st.integers(1, 3),
        "temperature": st.sampled_from([0, 1.0]),
    },
)
ANSWERS = st.lists(st.sampled_from(["<think>", "</think>", "\n", "a", "é"]), max_size=5).map("".join)

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_every_built_in_transform_is_here() -> None:
    transforms = {name for name in BUILT_IN if find_plugin(name).layer is Layer.TRANSFORM}
    assert transforms - TRANSLATORS == set(OPTIONS)


class Exchanged(NamedTuple):
    """One exchange: what went in and out of the pipeline on both sides, and the entries of its ledger."""

    sent: Any
    headers: list[str]
    said: Any
    got: Any
    changes: list[dict[str, Any]]


def answer(text: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    message = {"role": "assistant", "content": text, "reasoning": None}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


async def exchanged(listed: list[Any], body: Any, text: str) -> Exchanged | None:
    """Send a request through a pipeline; None where it was refused, and then nothing was sent."""
    store, sent = MemoryStore(), []
    raw = json.dumps(body, ensure_ascii=False).encode()
    exchange = Exchange(Request("POST", CHAT.encode(), b"", [(b"x-kept", b"1")], Payload(raw)), route="chat")

    async def terminal(asked: Exchange) -> Response:
        sent.append((asked.request.body.raw, [name.decode() for name, _ in asked.request.headers]))
        return Response(200, [(b"content-type", b"application/json")], Payload(json.dumps(answer(text)).encode()))

    async with AsyncExitStack() as stack:
        specs = [InterceptorSpec(**item) for item in listed]
        response = await compose(await build(plan(specs), services(store), stack), terminal)(exchange)
        got = json.loads(await response.read())
        await response.aclose(Outcome.COMPLETE)
    if response.status != 200:
        assert got["error"]["code"] in {"not_editable", "session_budget_exhausted"}
        assert sent == []
        return None
    [(last, headers)] = sent
    changes = [json.loads(record.changes) for record in store.records if record.changes is not None]
    return Exchanged(json.loads(last), headers, answer(text), got, changes[0] if changes else [])


def holds(found: Exchanged | None, body: Any) -> None:
    if found is None:
        return
    on_request = [change for change in found.changes if change["on"] == "request"]
    assert written(played(body, on_request)) == written(found.sent)
    on_answer = [change for change in found.changes if change["on"] == "answer"]
    assert written(played(found.said, on_answer)) == written(found.got)
    headers = {change["field"] for change in on_request if change["field"].startswith("header:")}
    assert headers == {f"header:{name}" for name in found.headers if name != "x-kept"}


def written(document: Any) -> str:
    """The document as it counts: the order of its top level does not."""
    return json.dumps(dict(sorted(document.items())))


@pytest.mark.parametrize("name", OPTIONS)
@relaxed
@given(data=st.data(), body=BODIES, text=ANSWERS)
async def test_each_transform_enters_all_that_it_changes(name, data, body, text) -> None:
    options = data.draw(OPTIONS[name])
    holds(await exchanged([{"name": name, "config": options}], body, text), body)


def pipelines(draw: Any) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(sorted(OPTIONS)), min_size=2, unique=True))
    return [{"name": name, "config": draw(OPTIONS[name])} for name in names]


@relaxed
@given(data=st.data(), body=BODIES, text=ANSWERS)
async def test_all_together_do_so_in_any_order(data, body, text) -> None:
    holds(await exchanged(pipelines(data.draw), body, text), body)


@settings(max_examples=10, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data(), body=BODIES, text=ANSWERS)
async def test_the_whole_sidecar_shows_it_in_log_and_header(tmp_path, data, body, text) -> None:
    with ModelServer() as server:
        server.on(CHAT, Reply(json=answer(text)))
        async with sidecar(tmp_path, server, [*pipelines(data.draw), "request_logging"]) as proxy:
            answered = await proxy.ask(body, CHAT, x_kept="1")
            row = (await proxy.get(f"/-/exchanges/{answered.header('x-evalside-id')}")).json
        if answered.status != 200:
            assert server.generation_requests == []
            return
        [request] = server.generation_requests
    names = [name for name in ("x-kept", "x-a", "x-b") if request.header(name) is not None]
    changes = row["changes"] or []
    holds(Exchanged(json.loads(request.body), names, answer(text), answered.json, changes), body)
    named = answered.header("x-evalside-changes") or ""
    assert set(filter(None, named.split(", "))) == {change["field"] for change in changes if change["on"] == "request"}
