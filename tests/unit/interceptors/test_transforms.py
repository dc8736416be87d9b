import json
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.interceptors.payload_modifier import PayloadModifierConfig
from proxy.interceptors.system_message import SystemMessageConfig
from proxy.testing import ModelServer
from tests.contract.sidecar import CHAT, chat, sidecar

USER = {"role": "user", "content": "hello"}
TOOL = {
    "type": "function",
    "function": {"name": "heat", "parameters": {"type": "object", "properties": {"temperature": {"type": "number"}}}},
}


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


async def sent(tmp_path, server, name: str, options: dict[str, Any], body: Any, path: str = CHAT, **headers: str):
    async with sidecar(tmp_path, server, [{"name": name, "config": options}]) as proxy:
        answered = await proxy.ask(body, path, **headers)
        return answered, (server.requests[-1] if server.requests else None)


async def modified(tmp_path, server, options: dict[str, Any], body: Any) -> Any:
    _, request = await sent(tmp_path, server, "payload_modifier", options, body)
    return request.json


async def prompted(tmp_path, server, body: Any, path: str = CHAT, **options: str) -> Any:
    answered, request = await sent(tmp_path, server, "system_message", {"system_message": "S", **options}, body, path)
    return request.json if request is not None else answered


async def test_removed_then_renamed_then_added(tmp_path, server) -> None:
    options = {
        "params_to_remove": ["seed"],
        "params_to_rename": {"max_tokens": "max_completion_tokens"},
        "params_to_add": {"seed": 7, "top_p": 1.0},
    }
    document = await modified(tmp_path, server, options, chat(seed=1, max_tokens=9))
    assert document == {**chat(), "seed": 7, "max_completion_tokens": 9, "top_p": 1.0}


@pytest.mark.parametrize(("before", "sent"), [(False, {"a": 1}), (True, {"b": 1})])
async def test_what_is_added_may_be_renamed(tmp_path, server, before, sent) -> None:
    options = {"params_to_rename": {"a": "b"}, "params_to_add": {"a": 1}, "add_before_rename": before}
    assert await modified(tmp_path, server, options, chat()) == {**chat(), **sent}


@pytest.mark.parametrize("strategy", ["prepend", "append", "replace"])
async def test_the_system_message_may_be_one_of_its_own(tmp_path, server, strategy) -> None:
    own, old = {"role": "system", "content": "S"}, {"role": "system", "content": "old"}
    expected = {"prepend": [own, old, USER], "append": [old, USER, own], "replace": [own, USER]}
    async with sidecar(
        tmp_path,
        server,
        [{"name": "system_message", "config": {"system_message": "S", "strategy": strategy, "separate": True}}],
    ) as proxy:
        await proxy.ask(chat(messages=[old, USER]))
        assert proxy.last["messages"] == expected[strategy]


async def test_removal_reaches_messages_and_never_tool_schemas_or_text(tmp_path, server) -> None:
    body = chat(
        tools=[TOOL], messages=[{**USER, "temperature": 1, "content": '{"temperature": 1}'}], extra={"temperature": 2}
    )
    document = await modified(tmp_path, server, {"params_to_remove": ["temperature"]}, body)
    assert document["tools"] == [TOOL]
    assert document["messages"] == [{"role": "user", "content": '{"temperature": 1}'}]
    assert document["extra"] == {"temperature": 2}
    assert "temperature" not in document


async def test_dotted_paths(tmp_path, server) -> None:
    options: dict[str, Any] = {
        "params_to_remove": ["chat_template_kwargs.a", "messages[].name"],
        "params_to_rename": {"chat_template_kwargs.b": "c"},
        "params_to_add": {"x.y": {"deep": []}, "x.y.z": 1},
    }
    for _ in range(2):  # what one request got must not grow in the configuration
        body = chat(chat_template_kwargs={"a": 1, "b": 2}, messages=[{**USER, "name": "n"}])
        document = await modified(tmp_path, server, options, body)
        assert document["chat_template_kwargs"] == {"c": 2}
        assert document["messages"] == [USER]
        assert document["x"] == {"y": {"deep": [], "z": 1}}
    assert options["params_to_add"]["x.y"] == {"deep": []}


async def test_headers(tmp_path, server) -> None:
    options = {
        "headers_to_remove": ["X-Gone"],
        "headers_to_rename": {"x-old": "x-new"},
        "headers_to_add": {"x-added": "host"},
    }
    _, request = await sent(
        tmp_path, server, "payload_modifier", options, chat(), x_gone="1", x_old="2", x_added="3", x_other="4"
    )
    got = {name: request.header(name) for name in ("x-gone", "x-old", "x-new", "x-added", "x-other")}
    assert got == {"x-gone": None, "x-old": None, "x-new": "2", "x-added": "host", "x-other": "4"}


@pytest.mark.parametrize("other", [2, 1.0, True])
async def test_a_rename_onto_another_value_is_refused(tmp_path, server, other) -> None:
    options = {"params_to_rename": {"a": "b"}}
    answered, request = await sent(tmp_path, server, "payload_modifier", options, chat(a=1, b=other))
    assert (answered.status, answered.json["error"]["code"], request) == (400, "not_editable", None)
    assert "cannot rename 'a' to 'b'" in answered.json["error"]["message"]


def test_a_parameter_that_json_cannot_carry_is_refused_at_start() -> None:
    with pytest.raises(ValidationError, match="'top_p' cannot be sent as JSON"):
        PayloadModifierConfig(params_to_add={"top_p": float("nan")})


async def test_without_an_edit_the_bytes_are_untouched(tmp_path, server) -> None:
    raw = json.dumps(chat(big=2**64), indent=3).encode()
    _, request = await sent(tmp_path, server, "payload_modifier", {"params_to_remove": ["absent"]}, raw)
    assert request.body == raw


async def test_what_cannot_be_edited_is_refused_and_never_sent(tmp_path, server) -> None:
    raw = b'{"model":"m","messages":[],"x":NaN}'
    answered, request = await sent(tmp_path, server, "payload_modifier", {"params_to_add": {"seed": 1}}, raw)
    assert (answered.status, answered.json["error"]["code"], request) == (400, "not_editable", None)


async def test_other_routes_are_left_alone_unless_named(tmp_path, server) -> None:
    body = {"model": "m", "input": "x"}
    for options, expected in (({}, None), ({"routes": ["embeddings"]}, 1)):
        given = {"params_to_add": {"seed": 1}, **options}
        _, request = await sent(tmp_path, server, "payload_modifier", given, body, "/v1/embeddings")
        assert request.json.get("seed") == expected


@pytest.mark.parametrize(
    "options",
    [
        {"params_to_remove": [""]},
        {"params_to_remove": ["messages[]"]},
        {"params_to_rename": {"a": "b.c"}},
        {"params_to_rename": {"a": "a"}},
        {"params_to_rename": {"x.a": "a"}},
        {"headers_to_add": {"Host": "x"}},
        {"headers_to_add": {"x-a": "b\r\nc: d"}},
        {"headers_to_add": {"x a": "b"}},
        {"headers_to_rename": {"x-a": "content-length"}},
        {"headers_to_remove": ["transfer-encoding"]},
    ],
)
def test_edits_that_cannot_work_are_refused_at_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PayloadModifierConfig.model_validate(options)


@pytest.mark.parametrize(
    ("strategy", "old", "new"),
    [
        ("prepend", None, [{"role": "system", "content": "S"}]),
        ("prepend", "old", [{"role": "system", "content": "S\nold"}]),
        ("append", "old", [{"role": "system", "content": "old\nS"}]),
        ("replace", "old", [{"role": "system", "content": "S"}]),
        (
            "prepend",
            [{"type": "text", "text": "old"}],
            [{"role": "system", "content": [{"type": "text", "text": "S"}, {"type": "text", "text": "old"}]}],
        ),
    ],
)
async def test_chat_has_one_system_message(tmp_path, server, strategy: str, old: Any, new: Any) -> None:
    before = [] if old is None else [{"role": "system", "content": old}]
    document = await prompted(tmp_path, server, chat(messages=[*before, USER]), strategy=strategy)
    assert document["messages"] == [*new, USER]


async def test_replace_leaves_no_other_system_message(tmp_path, server) -> None:
    messages = [{"role": "developer", "content": "a"}, USER, {"role": "system", "content": "b"}]
    document = await prompted(tmp_path, server, chat(messages=messages), strategy="replace")
    assert document["messages"] == [{"role": "system", "content": "S"}, USER]


async def test_completions_have_it_before_their_text(tmp_path, server) -> None:
    for prompt, expected in (("a", "S\na"), (["a", "b"], ["S\na", "S\nb"])):
        document = await prompted(tmp_path, server, {"model": "m", "prompt": prompt}, "/v1/completions")
        assert document["prompt"] == expected


async def test_a_prompt_of_ids_is_refused_and_never_sent_without_it(tmp_path, server) -> None:
    answered = await prompted(tmp_path, server, {"model": "m", "prompt": [1, 2]}, "/v1/completions")
    assert (answered.status, answered.json["error"]["code"]) == (400, "not_editable")
    assert server.requests == []


async def test_responses_and_messages_have_fields_for_it(tmp_path, server) -> None:
    document = await prompted(tmp_path, server, {"model": "m", "input": "x", "instructions": "old"}, "/v1/responses")
    assert document["instructions"] == "S\nold"
    document = await prompted(tmp_path, server, {**chat(), "max_tokens": 9}, "/v1/messages")
    assert document["system"] == "S"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"system_message": ""},
        {"system_message": "S", "strategy": "insert"},
        {"system_message": "S", "routes": ["score"]},
    ],
)
def test_a_prompt_that_cannot_work_is_refused_at_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SystemMessageConfig.model_validate(options)


@pytest.mark.parametrize(("asked", "got"), [(None, "d"), ("", "d"), ("a", "b"), ("other", "other"), (..., "d")])
async def test_the_endpoint_names_the_model(tmp_path, server, asked: Any, got: str) -> None:
    body = chat(model=asked)
    if asked is ...:
        del body["model"]
    upstream = {"model_id": "d", "model_aliases": {"a": "b"}}
    async with sidecar(tmp_path, server, ["endpoint"], upstream=upstream) as proxy:
        await proxy.ask(body)
        assert proxy.last["model"] == got
