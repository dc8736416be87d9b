import pytest

from proxy.core.errors import NotEditable
from tests.unit.interceptors.alone import ask

USER = {"role": "user", "content": "hi"}


def system(content, **fields):
    return {"role": "system", "content": content, **fields}


async def consolidated(*messages, **options):
    asked = await ask("consolidate_system", options, request={"messages": list(messages)})
    return asked.sent["messages"]


async def test_several_become_one_at_the_front():
    parts = [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]
    messages = await consolidated(system("a", name="x"), USER, system(parts), {"role": "developer", "content": "d"})
    assert messages == [system("a\n\nb\nc\n\nd", name="x"), USER]


async def test_one_that_is_not_at_the_front_is_moved_there():
    assert await consolidated(USER, system("a")) == [system("a"), USER]


async def test_the_separator_is_the_users_choice():
    assert await consolidated(system("a"), system("b"), separator=" | ") == [system("a | b")]


@pytest.mark.parametrize(
    "messages", [[system("a"), USER], [USER], [], [system([{"type": "image_url"}]), USER], [1, USER]]
)
async def test_what_is_right_already_is_untouched(messages):
    assert await consolidated(*messages) == messages


async def test_what_is_no_text_is_refused_and_not_lost():
    with pytest.raises(NotEditable, match="text only"):
        await consolidated(system("a"), system([{"type": "image_url"}]))


async def test_other_routes_have_no_such_messages():
    body = {"prompt": "x", "messages": [USER, system("a")]}
    asked = await ask("consolidate_system", request=body, route="completions")
    assert asked.sent == body


@pytest.mark.parametrize(
    ("body", "instructions"),
    [
        ({"input": [USER, system("a")]}, "a"),
        ({"input": [system("a"), USER], "instructions": "i"}, "i\n\na"),
        (
            {"input": [system("a"), USER, {**system([{"type": "input_text", "text": "b"}]), "type": "message"}]},
            "a\n\nb",
        ),
    ],
)
async def test_those_of_a_response_become_its_instructions(body, instructions):
    asked = await ask("consolidate_system", request=body, route="responses")
    assert asked.sent == {"input": [USER], "instructions": instructions}


@pytest.mark.parametrize(
    "body", [{"input": "x", "instructions": "i"}, {"input": [system("a"), USER]}, {"input": [USER]}]
)
async def test_a_response_with_one_at_the_front_is_untouched(body):
    assert (await ask("consolidate_system", request=body, route="responses")).sent == body
