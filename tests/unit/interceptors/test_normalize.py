import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.difference import apply
from proxy.core.errors import NotEditable, ServerUnknown, UnsupportedParameter
from proxy.dialects.loading import names
from proxy.plugins import plan
from proxy.settings import ConfigError, InterceptorSpec
from tests.unit.interceptors.alone import REQUEST, ask

COMPLETION = {"model": "m", "prompt": "x"}


async def test_tool_schemas_and_texts_are_never_reached_into():
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"max_tokens": {}, "n": {}}}}}]
    request = {**REQUEST, "tools": tools, "max_completion_tokens": 5}
    request["messages"] = [{"role": "user", "content": "top_k", "max_completion_tokens": 1}]

    asked = await ask("normalize", {"dialect": "tgi"}, request=request)

    assert asked.sent == {**REQUEST, "messages": request["messages"], "tools": tools, "max_tokens": 5}


async def test_bodies_that_need_no_change_keep_their_bytes():
    raw = b'{ "model": "m", "messages": [], "temperature": 0.50, "big": 123456789012345678901234567890 }'

    asked = await ask("normalize", {"dialect": "vllm"}, request=raw)

    assert asked.exchange.request.body.raw == raw
    assert asked.changes == []


async def test_numbers_keep_their_digits_beside_a_change():
    raw = b'{"messages": [], "temperature": 0.50, "max_new_tokens": 5}'

    asked = await ask("normalize", {"dialect": "vllm"}, request=raw)

    assert b'"temperature":0.50' in asked.exchange.request.body.raw


async def test_what_strict_json_cannot_carry_is_changed_only_with_an_error():
    with pytest.raises(NotEditable):
        await ask("normalize", {"dialect": "vllm"}, request=b'{"a": NaN, "max_new_tokens": 5}')
    assert (await ask("normalize", {"dialect": "vllm"}, request=b'{"a": NaN}')).changes == []


async def test_a_server_that_cannot_be_known_is_an_error_only_with_auto():
    with pytest.raises(ServerUnknown, match="'dialect: auto' depends on it"):
        await ask("normalize")


async def test_there_is_an_end_to_the_requests_that_one_becomes():
    with pytest.raises(UnsupportedParameter, match=r"'n' is 129, .* at most 128 are asked for at once"):
        await ask("normalize", {"dialect": "tgi"}, request={**REQUEST, "n": 129})


async def test_n_that_is_no_number_of_choices_is_the_server_s_matter():
    assert (await ask("normalize", {"dialect": "tgi"}, request={**REQUEST, "n": "2"})).sent["n"] == "2"


async def test_the_reasons_are_in_the_ledger():
    request = {**REQUEST, "max_completion_tokens": 5, "top_p": 1, "top_logprobs": 9}

    asked = await ask("normalize", {"dialect": "tgi"}, request=request)

    assert {change.field: change.why for change in asked.exchange.ledger.changes} == {
        "max_completion_tokens": "tgi calls it max_tokens",
        "max_tokens": "tgi calls it max_tokens",
        "top_p": "the same as leaving it out, and tgi wants it left out",
        "top_logprobs": "at most 5 on tgi",
    }


async def test_each_route_has_its_own_rules():
    with pytest.raises(UnsupportedParameter):
        await ask("normalize", {"dialect": "ollama"}, request={**COMPLETION, "echo": True}, route="completions")
    chat = await ask("normalize", {"dialect": "ollama"}, request={**REQUEST, "echo": True})
    assert chat.changes == []


async def test_routes_that_a_dialect_says_nothing_of_pass():
    request = {"model": "m", "input": "x", "max_completion_tokens": 3, "n": 2}

    asked = await ask("normalize", {"dialect": "transformers"}, request=request, route="responses")

    assert asked.sent == request


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "vlm"}, "unknown dialect 'vlm'; did you mean 'vllm'"),
        ({"dialect": "./absent.toml"}, "cannot be read"),
        ({"profile": "absent.json"}, "capability profile absent.json: it cannot be read"),
        ({"on_unsupported": "ignore"}, "on_unsupported"),
        ({"reasoning_field": "thoughts"}, "reasoning_field"),
    ],
)
def test_options_that_cannot_work_are_told_at_start_up(options, message):
    with pytest.raises(ConfigError, match=message):
        plan([InterceptorSpec(name="normalize", config=options)])


def test_it_is_inside_of_what_changes_requests_and_outside_of_the_endpoint():
    specs = ["caching", "endpoint", "normalize", "streaming", "finish_reason", "payload_modifier"]

    order = [entry.name for entry in plan([InterceptorSpec(name=name) for name in specs])]

    assert order == ["payload_modifier", "finish_reason", "streaming", "normalize", "endpoint", "caching", "damping"]


PARAMETERS = {
    "n": st.sampled_from([1, None]),
    "max_tokens": st.sampled_from([5, None]),
    "max_completion_tokens": st.sampled_from([5, None]),
    "max_new_tokens": st.sampled_from([5, None]),
    "temperature": st.sampled_from([0, 0.5, 3.5, -1, None, "x"]),
    "top_p": st.sampled_from([1, 1.0, 0.5, 2, None]),
    "top_k": st.sampled_from([5, None]),
    "top_logprobs": st.sampled_from([0, 5, 50]),
    "logit_bias": st.sampled_from([{}, {"1": 2}]),
    "user": st.just("u"),
    "seed": st.sampled_from([7, None]),
    "foo": st.sampled_from([{"max_new_tokens": 5}, [1], None, True]),
}


@pytest.mark.parametrize("dialect", names())
@given(st.fixed_dictionaries({}, optional=PARAMETERS))
async def test_what_is_sent_is_what_was_received_with_the_ledger_s_changes(dialect, parameters):
    request = {**REQUEST, **parameters}
    asked = await ask("normalize", {"dialect": dialect, "on_unsupported": "drop"}, request=request)

    document = json.loads(json.dumps(request))
    apply(document, [change.what for change in asked.exchange.ledger.changes])
    assert document == asked.sent
    assert all(change.why != "configured" for change in asked.exchange.ledger.changes)
