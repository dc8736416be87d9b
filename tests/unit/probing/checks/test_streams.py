import pytest

from tests.unit.probing.driving import chat, delta, drive, error, events

USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
LLAMACPP = {"choices": [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}]}
TRANSFORMERS = {"choices": [{"delta": {}, "index": 0, "finish_reason": "length"}], "usage": USAGE}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (events(delta("a"), delta("b")), "supported"),
        (events(delta(), delta(finish="length")), "wrong"),
        (chat("a"), "ignored"),
        (error(400, "stream is not supported"), "rejected"),
    ],
)
def test_a_stream_has_pieces(answer, verdict):
    assert drive("chat.stream", answer).verdict == verdict


@pytest.mark.parametrize(("done", "verdict"), [(True, "supported"), (False, "wrong")])
def test_a_stream_ends_with_done(done, verdict):
    assert drive("chat.stream_done", events(delta("a"), TRANSFORMERS, done=done)).verdict == verdict


def test_deltas_hold_text():
    assert drive("chat.stream_content", events(delta(), delta("a"))).verdict == "supported"
    assert drive("chat.stream_content", events({"choices": [{"text": "a"}]})).verdict == "supported"
    assert drive("chat.stream_content", events(LLAMACPP, delta("a"))).verdict == "wrong"


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ({"choices": [], "usage": USAGE}, "supported"),
        (TRANSFORMERS, "wrong"),
        (delta("b", usage=None), "ignored"),
    ],
)
def test_usage_comes_by_itself(last, verdict):
    driven = drive("chat.stream_usage", events(delta("a"), last))
    assert driven.verdict == verdict
    assert driven.body()["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(("last", "verdict"), [(delta("b", usage=None), "supported"), (TRANSFORMERS, "wrong")])
def test_usage_comes_only_if_asked(last, verdict):
    driven = drive("chat.stream_usage_only_if_asked", events(delta("a"), last))
    assert driven.verdict == verdict
    assert "stream_options" not in driven.body()
