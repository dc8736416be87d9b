import pytest

from proxy.core.errors import SessionBudgetExhausted
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
