import pytest

from tests.unit.probing.driving import chat, delta, drive, error, events, text


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(chat("a", "b"), "supported"), (chat("a"), "ignored"), (error(400, "1 <= n <= 1"), "rejected")],
)
def test_n_choices_come(answer, verdict):
    driven = drive("chat.n", answer)
    assert driven.verdict == verdict
    assert driven.body()["n"] == 2


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (text("a", "b", tokens=10), "supported"),
        (text("a", "b", tokens=5), "wrong"),  # llama.cpp
        (text("a", "b", tokens=None), "ignored"),
        (text("a", "b", finish="stop"), "unknown"),
        (text("a"), "unknown"),
    ],
)
def test_usage_counts_all_choices(answer, verdict):
    assert drive("completions.n_usage", answer).verdict == verdict


ENDS = [delta("a", finish="length"), delta(index=1, finish="length")]


@pytest.mark.parametrize(
    ("chunks", "verdict"),
    [
        ([delta("a"), *ENDS], "ignored"),
        ([*ENDS, {"usage": {"completion_tokens": 10}}], "supported"),
        ([*ENDS, {"usage": {"completion_tokens": 5}}], "wrong"),
        ([ENDS[0], {"usage": {"completion_tokens": 5}}], "unknown"),
    ],
)
def test_usage_of_a_stream_counts_all_choices(chunks, verdict):
    assert drive("chat.stream_n_usage", events(*chunks)).verdict == verdict
