import pytest

from proxy.probing.answers import Answer, content, message, quoted, read_stream, reasoning_field, said, short
from tests.unit.probing.driving import EVENTS, JSON, TEXT, chat, plain, text


def test_a_plain_answer_is_read():
    answer = chat("one", "two", tokens=7)
    assert [said(choice) for choice in answer.choices] == ["one", "two"]
    assert (answer.usage("completion_tokens"), answer.usage("total_tokens")) == (7, None)
    assert (answer.content_type, answer.is_stream) == ("application/json", False)
    assert said(text("three").choices[0]) == "three"


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"choices":1,"usage":2}', b'{"choices":[1]}'])
def test_what_is_something_else_is_empty(body):
    answer = Answer(200, TEXT, body)
    assert answer.choices == []
    assert answer.usage("prompt_tokens") is None


def test_reasoning_is_said_before_the_content():
    assert said({"message": {"content": "4", "reasoning_content": "2+2="}}) == "2+2=4"
    assert said({"delta": {"reasoning": "hm", "content": None}}) == "hm"
    assert said({"text": 1}) == ""


def test_reasoning_is_told_from_the_content():
    thinking = plain({"choices": [{"message": {"content": "4", "reasoning": "2+2"}}]})
    assert (content(thinking), reasoning_field(thinking)) == ("4", "reasoning")
    assert (content(chat("4")), reasoning_field(chat("4"))) == ("4", None)
    for odd in (chat(), plain({"choices": [{"message": "x"}]}), plain({"choices": [{"message": {"content": None}}]})):
        assert (content(odd), reasoning_field(odd)) == ("", None)


def test_a_stream_is_read_whatever_its_end():
    whole = Answer(200, EVENTS, b'data: {"a":1}\n\ndata: no json\n\ndata: [1]\n\ndata: [DONE]\n\n')
    assert (read_stream(whole).chunks, read_stream(whole).done) == ([{"a": 1}], True)
    cut = read_stream(Answer(200, EVENTS, b'data: {"usage":{"n":1}}'))
    assert (cut.usages, cut.done) == ([{"usage": {"n": 1}}], False)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"error": {"message": "a"}}, "a"),
        ({"error": "b"}, "b"),
        ({"detail": "c"}, "c"),
        ({"detail": [{"msg": "d"}]}, '[{"msg":"d"}]'),
        ({"error": {"code": 1}}, '{"code":1}'),
        ({"object": "error", "message": "e"}, "e"),
        ({"more": 1}, '{"more": 1}'),
    ],
)
def test_an_error_says_what_is_wrong_in_every_shape(document, expected):
    assert message(plain(document, 400)) == expected


def test_an_error_in_plain_text_is_the_text():
    assert message(Answer(500, TEXT, b"Internal Server Error\n")) == "Internal Server Error"
    assert Answer(500).content_type == "nothing"
    assert Answer(200, JSON, b"{}").content_type == "application/json"


def test_evidence_is_one_short_line():
    assert short("a\n  b") == "a b"
    assert short({"a": 1}) == '{"a":1}'
    assert len(short("x" * 1000)) == 160
    assert quoted('a "b"\n') == '"a \\"b\\"\\n"'
    assert quoted("y" * 100).endswith('…"')
