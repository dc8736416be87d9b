import pytest

from proxy.probing.answers import Answer
from tests.unit.probing.driving import LOST, chat, drive, error, plain, text

LLAMACPP = {
    "choices": [{"text": " a", "index": 0, "logprobs": None, "finish_reason": "length"}],
    "created": 1795552321, "model": "smollm2", "system_fingerprint": "b0-unknown", "object": "text_completion",
    "usage": {"completion_tokens": 1, "prompt_tokens": 7, "total_tokens": 8}, "id": "chatcmpl-9uJqs",
    "timings": {"cache_n": 0, "prompt_n": 7},
}  # fmt: skip


def test_a_route_that_answers_works():
    assert drive("chat.works", chat("Hello")).verdict == "supported"
    assert drive("completions.works", text("Hello")).verdict == "supported"


def test_fields_that_nobody_else_has_are_told():
    assert drive("completions.works", plain(LLAMACPP)).evidence == '" a"; also timings'


@pytest.mark.parametrize("answer", [plain({"choices": []}), plain({"a": 1}), chat("")])
def test_an_answer_without_words_is_wrong(answer):
    assert drive("chat.works", answer).verdict == "wrong"


def test_a_route_that_is_not_there_is_rejected():
    assert drive("chat.works", error(404, "Not Found")).evidence == "404: Not Found"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (error(401, "key"), "supported"),
        (error(403, "key"), "supported"),
        (chat("x"), "ignored"),
        (error(404), "unknown"),
        (LOST, "unknown"),
    ],
)
def test_a_key_is_asked_for_or_not(answer, verdict):
    driven = drive("chat.auth", answer, has_key=True)
    assert driven.verdict == verdict
    assert not driven.asks[0].authorized


def test_without_a_key_nothing_is_asked():
    assert drive("chat.auth").verdict == "unknown"


@pytest.mark.parametrize(
    ("named", "verdict"), [("m", "supported"), ("m@main", "wrong"), ("", "wrong"), (None, "wrong")]
)
def test_the_answers_model_is_the_one_that_was_asked(named, verdict):
    assert drive("chat.model_name", chat("x", model=named)).verdict == verdict


def test_no_model_asked_is_no_model_to_compare():
    driven = drive("chat.model_name", Answer(200, [], b'{"model":"a"}'), model=None)
    assert (driven.verdict, driven.evidence) == ("unknown", "none was asked for; the answer names a")
