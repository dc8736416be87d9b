import pytest
from pydantic import ValidationError

from proxy.interceptors.responses_to_chat import ResponsesToChatConfig
from tests.unit.interceptors.alone import ask, events
from tests.unit.wire.bridges.chats import answer, chunk


async def test_a_response_is_asked_of_the_chat():
    asked = await ask(
        "responses_to_chat", request={"model": "m", "input": "hi"}, answer=answer(content="yes"), route="responses"
    )
    assert asked.sent == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert asked.exchange.request.path == b"/v1/chat/completions"
    assert asked.json["output"][0]["content"][0]["text"] == "yes"


async def test_a_stream_is_told_in_the_events_of_a_response():
    stream = events(chunk(content="yes"), chunk("stop"))
    asked = await ask(
        "responses_to_chat", request={"input": "hi", "stream": True}, answer=stream, route="responses", size=3
    )
    assert [document["type"] for document in asked.documents][-1] == "response.completed"


async def test_options_are_what_the_chat_differs_in():
    options = {
        "max_tokens_field": "max_completion_tokens",
        "developer_role": "developer",
        "reasoning_field": "reasoning",
    }
    items = [
        {"role": "developer", "content": "a"},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "b"}]},
    ]
    asked = await ask(
        "responses_to_chat",
        options,
        request={"input": items, "max_output_tokens": 3},
        answer=answer(content="yes"),
        route="responses",
    )
    assert asked.sent == {
        "messages": [{"role": "developer", "content": "a"}, {"role": "assistant", "content": None, "reasoning": "b"}],
        "max_completion_tokens": 3,
    }


async def test_an_id_that_the_server_does_not_give_is_the_exchanges():
    reply = {**answer(content="yes"), "id": ""}
    asked = await ask("responses_to_chat", request={"input": "hi"}, answer=reply, route="responses")
    assert asked.json["id"] == f"resp_{asked.exchange.id}"


async def test_other_routes_are_left_alone():
    asked = await ask("responses_to_chat", answer=answer(content="yes"))
    assert (asked.json, asked.changes) == (answer(content="yes"), [])


@pytest.mark.parametrize("options", [{"max_tokens_field": "n"}, {"developer_role": "user"}, {"routes": ["chat"]}])
def test_options_are_checked(options):
    with pytest.raises(ValidationError):
        ResponsesToChatConfig.model_validate(options)
