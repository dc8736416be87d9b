import pytest

from proxy.plugins import plan
from proxy.settings import ConfigError, InterceptorSpec
from tests.unit.interceptors.alone import ask, events
from tests.unit.wire.bridges.chats import answer, chunk

OPTIONS = {"user_template": "Answer this:\n{{ prompt }}"}
REQUEST = {"model": "m", "prompt": "2+2="}


async def test_a_completion_is_asked_of_the_chat():
    asked = await ask("completions_to_chat", OPTIONS, request=REQUEST, answer=answer(content="4"), route="completions")
    assert asked.sent == {
        "model": "m",
        "messages": [{"role": "user", "content": "Answer this:\n2+2="}],
        "max_tokens": 16,
    }
    assert asked.exchange.request.path == b"/v1/chat/completions"
    assert asked.json["object"] == "text_completion"
    assert asked.json["choices"] == [{"index": 0, "text": "4", "finish_reason": "stop", "logprobs": None}]


async def test_a_stream_is_one_of_completions():
    stream = events(chunk(content="4"), chunk("stop"))
    asked = await ask(
        "completions_to_chat", OPTIONS, request={**REQUEST, "stream": True}, answer=stream, route="completions", size=3
    )
    assert [document["choices"][0]["text"] for document in asked.documents] == ["4", ""]
    assert asked.body.endswith(b"data: [DONE]\n\n")


async def test_what_is_lost_is_in_the_ledger():
    reply = answer(content="4", annotations=[{}])
    asked = await ask("completions_to_chat", OPTIONS, request=REQUEST, answer=reply, route="completions")
    assert asked.exchange.ledger.changes[-1].why == "chat as completions; not carried: choices[].message.annotations"


async def test_the_limit_of_requests_without_one_can_be_another():
    options = {**OPTIONS, "default_max_tokens": None}
    asked = await ask("completions_to_chat", options, request=REQUEST, answer=answer(content="4"), route="completions")
    assert "max_tokens" not in asked.sent


async def test_other_routes_are_left_alone():
    asked = await ask("completions_to_chat", OPTIONS, answer=answer(content="yes"))
    assert (asked.json, asked.changes) == (answer(content="yes"), [])


async def test_a_template_that_cannot_be_used_is_told_at_startup():
    with pytest.raises(ConfigError, match="user_template is not one: line 1"):
        await ask("completions_to_chat", {"user_template": "{{"}, request=REQUEST, route="completions")


def test_there_is_no_template_but_the_one_that_is_written():
    with pytest.raises(ConfigError, match="option 'user_template' is missing"):
        plan([InterceptorSpec(name="completions_to_chat")])
