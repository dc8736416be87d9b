import pytest

from proxy.core.errors import NotCarried
from proxy.wire.bridges.losses import Losses
from proxy.wire.bridges.responses_parts import chat_content

TEXT = {"type": "input_text", "text": "a"}


def content(value):
    losses = Losses("a_bridge", "")
    made = chat_content(value, "input[0].content", losses)
    return made, losses.converted({}).left_out


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", "a"),
        ([], ""),
        ([TEXT], "a"),
        ([TEXT, {"type": "output_text", "text": "b", "annotations": []}],
         [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        ([{"type": "refusal", "refusal": "no"}], [{"type": "refusal", "refusal": "no"}]),
        ([{"type": "input_image", "image_url": "data:x", "detail": "low", "file_id": None}],
         [{"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}]),
        ([{"type": "input_image", "image_url": "data:x"}], [{"type": "image_url", "image_url": {"url": "data:x"}}]),
        ([{"type": "input_file", "file_data": "data:x", "filename": "a.pdf"}],
         [{"type": "file", "file": {"file_data": "data:x", "filename": "a.pdf"}}]),
        ([{"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}],
         [{"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}]),
    ],
)  # fmt: skip
def test_parts_of_a_chat(given, expected):
    assert content(given) == (expected, [])


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (
            {"type": "input_image", "file_id": "f"},
            r"input\[0\]\.content\[0\] \(a chat takes an image by its 'image_url'",
        ),
        ({"type": "input_file", "file_url": "http://x"}, r"input\[0\]\.content\[0\]\.file_url"),
        ({"type": "input_text", "text": 1}, r"input\[0\]\.content\[0\]\.text"),
        ({"type": "computer_screenshot"}, r"input\[0\]\.content\[0\] .*'computer_screenshot'"),
        ({"type": ["text"]}, r"input\[0\]\.content\[0\]"),
        ("a", r"input\[0\]\.content\[0\]"),
    ],
)
def test_other_parts_are_refused(part, field):
    with pytest.raises(NotCarried, match=field):
        content([part])


@pytest.mark.parametrize("value", [None, 1, {}])
def test_content_is_a_text_or_parts(value):
    with pytest.raises(NotCarried, match=r"input\[0\]\.content \(it has to be a text or a list"):
        content(value)


def test_what_a_part_says_beside_is_left_out_and_told():
    part = {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}], "logprobs": [{}]}
    assert content([part]) == ("a", ["input[].content[].annotations", "input[].content[].logprobs"])
