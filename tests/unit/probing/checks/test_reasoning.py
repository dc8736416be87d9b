import pytest

from tests.unit.probing.driving import chat, drive, plain


def thinking(**message):
    document = chat("4").fields
    document["choices"][0]["message"] |= message
    return plain(document)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (thinking(reasoning_content="2+2"), "supported"),
        (thinking(reasoning="2+2"), "supported"),
        (thinking(reasoning_content=""), "unknown"),
        (chat("<think>2+2"), "wrong"),
        (chat("4"), "unknown"),
        (chat(), "unknown"),
        (thinking(content=None), "unknown"),
    ],
)
def test_reasoning_has_its_field(answer, verdict):
    assert drive("chat.reasoning", answer).verdict == verdict


def test_a_message_that_is_none_has_no_reasoning():
    assert drive("chat.reasoning", plain({"choices": [{"message": "x"}]})).verdict == "unknown"
