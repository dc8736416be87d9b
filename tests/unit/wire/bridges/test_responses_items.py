import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import NotCarried
from proxy.wire.bridges.losses import Losses
from proxy.wire.bridges.responses_items import Messages
from tests.unit.wire.bridges.chats import UNHURRIED


def messages(*items, developer="system", reasoning="reasoning_content"):
    losses = Losses("a_bridge", "")
    made = Messages(developer, reasoning, losses)
    made.take(list(items))
    return made.all, losses.converted({}).left_out


def call(number=1):
    return {"type": "function_call", "id": "fc", "call_id": f"c{number}", "name": "f", "arguments": "{}", "status": "x"}


def output(number=1, text="42"):
    return {"type": "function_call_output", "call_id": f"c{number}", "output": text}


def tool_call(number=1):
    return {"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def thought(text="hm", **fields):
    return {
        "type": "reasoning",
        "id": "rs",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
        **fields,
    }


def said(text="yes"):
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "role": "assistant", "id": "msg", "status": "completed", "content": [part]}


def test_a_turn_with_tools_there_and_back():
    """What the SDK sends as input of the next turn: the output items of the last, and the results of the calls."""
    assert messages({"role": "user", "content": "hi"}, thought(), said(), call(1), call(2), output(1), output(2)) == (
        [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "yes",
                "reasoning_content": "hm",
                "tool_calls": [tool_call(1), tool_call(2)],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
            {"role": "tool", "tool_call_id": "c2", "content": "42"},
        ],
        [],
    )


def test_calls_without_a_text_have_null_in_its_place():
    made, _ = messages(call(1), output(1), call(2))
    assert made[0] == {"role": "assistant", "content": None, "tool_calls": [tool_call(1)]}
    assert made[2] == {"role": "assistant", "content": None, "tool_calls": [tool_call(2)]}


@pytest.mark.parametrize(
    "items", [(said("a"), said("b")), (call(1), said("b")), (thought("a"), thought("b")), (said("a"), thought("b"))]
)
def test_what_cannot_be_one_message_is_two(items):
    assert [message["role"] for message in messages(*items)[0]] == ["assistant", "assistant"]


def test_a_message_of_the_user_ends_that_of_the_assistant():
    made, _ = messages(thought("a"), {"role": "user", "content": "hi"}, said("b"))
    assert [message["content"] for message in made] == [None, "hi", "b"]


@pytest.mark.parametrize(("option", "role"), [("system", "system"), ("developer", "developer")])
def test_developer_messages_have_the_role_that_was_chosen(option, role):
    made, _ = messages({"role": "developer", "content": "a"}, {"role": "system", "content": "b"}, developer=option)
    assert [message["role"] for message in made] == [role, "system"]


def test_reasoning_goes_where_it_was_told_to_and_a_summary_does_where_there_is_no_more():
    summary = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
    }
    assert messages(summary, reasoning="reasoning")[0] == [{"role": "assistant", "content": None, "reasoning": "ab"}]


def test_reasoning_without_a_text_says_nothing_unless_it_is_encrypted():
    assert messages({"type": "reasoning", "summary": []}) == ([], [])
    with pytest.raises(NotCarried, match=r"input\[0\]\.encrypted_content"):
        messages({"type": "reasoning", "summary": [], "encrypted_content": "x"})
    assert messages(thought(encrypted_content="x"))[1] == ["input[].encrypted_content"]


@pytest.mark.parametrize("content", [[{"type": "reasoning_text"}], ["hm"], "hm"])
def test_reasoning_in_another_form_is_refused(content):
    with pytest.raises(NotCarried, match=r"input\[0\] \(its parts need a text each\)"):
        messages({"type": "reasoning", "content": content})


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"type": "item_reference", "id": "x"}, r"input\[0\]"),
        ({"type": "web_search_call"}, r"input\[0\]"),
        ({"type": "custom_tool_call"}, r"input\[0\]"),
        ("hi", r"input\[0\]"),
        ({"role": "tool", "content": "a"}, r"input\[0\]\.role"),
        ({"role": "user", "content": None}, r"input\[0\]\.content"),
        ({**output(), "output": 42}, r"input\[0\]\.output"),
    ],
)
def test_other_items_are_refused(item, field):
    with pytest.raises(NotCarried, match=field):
        messages(item)


def test_fields_that_nobody_knows_are_left_out_and_told():
    assert messages({**call(), "namespace": "n", "caller": None}, {**said(), "phase": "final"})[1] == [
        "input[].namespace",
        "input[].phase",
    ]


def test_outputs_of_parts():
    made, _ = messages(
        {**output(), "output": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}
    )
    assert made[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


TEXTS = st.sampled_from(["a", "\u2028é", "😀 b", "c\n"])
ITEMS = st.lists(
    st.one_of(
        st.builds(lambda text: {"role": "user", "content": [{"type": "input_text", "text": text}]}, TEXTS),
        st.builds(thought, TEXTS),
        st.builds(said, TEXTS),
        st.builds(lambda text: {**call(), "arguments": text}, TEXTS),
        st.builds(lambda text: output(text=text), TEXTS),
    ),
    max_size=8,
)


def texts_of_item(item):
    parts = item.get("content", [])
    return [part["text"] for part in parts] + [item[name] for name in ("arguments", "output") if name in item]


def texts_of_message(message):
    told = [message.get("reasoning_content"), message["content"]]
    told += [item["function"]["arguments"] for item in message.get("tool_calls", ())]
    return [text for text in told if text is not None]


@UNHURRIED
@given(ITEMS)
def test_every_text_is_there_once_and_in_its_order(items):
    made, left_out = messages(*items)
    assert [text for message in made for text in texts_of_message(message)] == [
        text for item in items for text in texts_of_item(item)
    ]
    assert left_out == []
