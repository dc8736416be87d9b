import pytest

from proxy.core.errors import NotEditable, SessionBudgetExhausted
from tests.unit.interceptors.alone import ask


def conversation(turn, *before):
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}] * (turn - 1)
    return {"messages": [*before, *said, {"role": "user", "content": "q"}]}


async def note(turn, **options):
    """What was added to the conversation at this turn."""
    asked = await ask("turn_counter", {"max_turns": 20, **options}, request=conversation(turn))
    return [item["content"] for item in asked.sent["messages"] if item["content"] not in {"q", "a"}]


async def test_the_model_is_told_near_the_end():
    assert [len(await note(turn)) for turn in (1, 15, 16, 18, 19, 20)] == [0, 0, 1, 1, 1, 1]
    assert "[Turn 16 of 20. Few" in (await note(16))[0]
    assert "[Turn 19 of 20. Almost" in (await note(19))[0]


async def test_the_model_is_told_every_so_many_turns():
    options = {"trigger": "periodic", "interval": 3}
    assert [await note(turn, **options) for turn in (1, 3, 6)] == [[], ["[Turn 3 of 20.]"], ["[Turn 6 of 20.]"]]


async def test_more_turns_than_that_are_refused():
    with pytest.raises(SessionBudgetExhausted, match="turn 21 of a conversation that may have 20") as caught:
        await note(21)
    assert caught.value.status == 429
    assert (b"x-should-retry", b"false") in caught.value.response_headers()


async def test_without_a_limit_it_only_counts():
    assert await note(99, max_turns=None) == []


async def test_a_system_message_that_is_there_gets_the_note():
    body = conversation(1, {"role": "system", "content": "S"})
    asked = await ask("turn_counter", {"max_turns": 1}, request=body)
    assert asked.sent["messages"][0]["content"].startswith("S\n[Turn 1 of 1.")
    assert asked.changes == [("turn_counter", "messages[0].content")]


async def test_the_last_user_message_may_get_it():
    options = {"max_turns": 1, "position": "user_message"}
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]}
    asked = await ask("turn_counter", options, request=parts)
    assert asked.sent["messages"][0]["content"][1]["text"].startswith("[Turn 1 of 1.")
    nobody: dict[str, list[str]] = {"messages": []}
    assert (await ask("turn_counter", options, request=nobody)).sent == nobody


async def test_messages_has_its_system_prompt_apart():
    asked = await ask("turn_counter", {"max_turns": 1}, request=conversation(1), route="messages")
    assert asked.sent["system"].startswith("[Turn 1 of 1.")


async def test_other_routes_have_no_turns():
    asked = await ask("turn_counter", {"max_turns": 1}, request=conversation(9), route="completions")
    assert asked.sent == conversation(9)


def response(turn, **more):
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}] * (turn - 1)
    return {"input": [*said, {"role": "user", "content": "q"}], **more}


async def test_turns_of_a_response_are_those_of_the_chat_that_it_would_be():
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"} for n in range(2)]
    outputs = [{"type": "function_call_output", "call_id": f"c{n}", "output": "1"} for n in range(2)]
    body = response(1)
    body["input"] += [*calls, *outputs, {"role": "assistant", "content": "a"}, {"role": "user", "content": "q"}]
    asked = await ask("turn_counter", {"max_turns": 3, "trigger": "periodic"}, request=body, route="responses")
    assert asked.sent == {**body, "instructions": "[Turn 3 of 3.]"}
    with pytest.raises(SessionBudgetExhausted, match="turn 3 of a conversation that may have 2"):
        await ask("turn_counter", {"max_turns": 2}, request=body, route="responses")


async def test_a_response_has_its_instructions_or_its_last_user_told():
    options = {"max_turns": 9, "trigger": "periodic"}
    asked = await ask("turn_counter", options, request=response(1, instructions="S"), route="responses")
    assert asked.sent == response(1, instructions="S\n[Turn 1 of 9.]")
    options["position"] = "user_message"
    asked = await ask("turn_counter", options, request={"input": "q"}, route="responses")
    assert asked.sent == {"input": "q\n[Turn 1 of 9.]"}
    parts = {"role": "user", "content": [{"type": "input_text", "text": "q"}]}
    asked = await ask("turn_counter", options, request={"input": [parts, {"type": "reasoning"}]}, route="responses")
    assert asked.sent["input"][0]["content"] == [*parts["content"], {"type": "input_text", "text": "[Turn 1 of 9.]"}]
    nobody = {"input": [{"role": "assistant", "content": "a"}]}
    assert (await ask("turn_counter", options, request=nobody, route="responses")).sent == nobody


@pytest.mark.parametrize("field", ["previous_response_id", "conversation"])
async def test_turns_that_the_server_keeps_cannot_be_counted(field):
    body = response(1, **{field: "x"})
    with pytest.raises(NotEditable, match=f"before '{field}'"):
        await ask("turn_counter", {"max_turns": 9}, request=body, route="responses")
    assert (await ask("turn_counter", {}, request=body, route="responses")).sent == body


@pytest.mark.parametrize("body", [{}, {"input": 3}, {"messages": [{"role": "assistant"}]}])
async def test_a_response_without_items_has_no_turns(body):
    assert (await ask("turn_counter", {"max_turns": 1}, request=body, route="responses")).sent == body
