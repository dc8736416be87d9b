import pytest

from proxy.wire.bridges.responses_request import chat_request
from proxy.wire.conversation import messages_of

ITEMS = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
    {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "1"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
    {"role": "user", "content": "c"},
]


def test_items_become_what_a_bridge_makes_of_them() -> None:
    bridged = chat_request({"input": ITEMS}).body["messages"]
    assert messages_of({"input": ITEMS}) == [{"role": "developer", "content": "be brief"}, *bridged[1:]]
    assert [message["role"] for message in bridged].count("assistant") == 2


def test_a_text_is_a_message() -> None:
    assert messages_of({"input": "a"}) == [{"role": "user", "content": "a"}]


def test_messages_are_those_that_came() -> None:
    messages = [{"role": "user"}, 3]
    assert messages_of({"messages": messages, "input": "x"}) is messages


@pytest.mark.parametrize(
    "document", [{}, {"messages": "x"}, {"input": None}, {"input": 3}, {"input": [3, {}, {"type": "x"}]}]
)
def test_what_is_neither_gives_none(document) -> None:
    assert messages_of(document) == []
