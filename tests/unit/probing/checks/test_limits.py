import pytest

from proxy.probing.answers import Answer
from proxy.probing.checks.limits import context_in, context_of
from tests.unit.probing.driving import LOST, TEXT, chat, drive, error, plain, text

STORY = "The night was a dark and foreboding one, as the moon cast"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (chat("x", tokens=5), "supported"),
        (chat("x", tokens=None), "supported"),
        (chat("x", tokens=4, finish="stop"), "unknown"),
        (chat("x", tokens=None, finish="stop"), "unknown"),
        (chat("x", tokens=300), "ignored"),
        (chat("x", tokens=5, finish="stop"), "wrong"),
        (chat(), "wrong"),
        (error(400, "use max_completion_tokens"), "rejected"),
    ],
)
def test_a_limit_is_kept_and_told(name, answer, verdict):
    driven = drive(f"chat.{name}", answer)
    assert driven.verdict == verdict
    assert driven.body()[name] == 5
    assert {"max_tokens", "max_completion_tokens"} & driven.body().keys() == {name}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (text("", tokens=0), "supported"),
        (text("", tokens=None), "supported"),
        (text(tokens=0), "supported"),
        (text(" a", tokens=1), "wrong"),  # llama.cpp
        (text("", tokens=1), "wrong"),
        (Answer(500, TEXT, b"Internal Server Error"), "rejected"),  # transformers serve
    ],
)
def test_zero_tokens_are_none(answer, verdict):
    assert drive("completions.max_tokens_zero", answer).verdict == verdict


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ("The night was a", "supported"),
        ("The night was a ", "supported"),
        ("The night was a dark", "wrong"),  # transformers serve keeps it
        ("The night was a darker", "wrong"),
        (STORY, "ignored"),
        (STORY + " its light", "ignored"),
        ("Once", "unknown"),
        ("", "unknown"),
    ],
)
def test_stop_ends_before_a_word(told, verdict):
    driven = drive("chat.stop", chat(STORY), chat(told))
    assert driven.verdict == verdict, driven.evidence
    assert driven.body()["stop"] == [" dark"]
    assert driven.body()["temperature"] == 0


@pytest.mark.parametrize("whole", ["Hello there", "a b c c c", "one two three four"])
def test_stop_needs_a_word_that_comes_once_and_not_at_the_end(whole):
    assert drive("chat.stop", chat(whole)).verdict == "unknown"


def test_stop_at_a_rejected_parameter():
    assert drive("chat.stop", chat(STORY), error(400)).verdict == "rejected"
    assert drive("chat.stop", chat(STORY), chat()).verdict == "unknown"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(200, [], b'data: {"choices"'), "supported"),
        (Answer(200, [], b'data: {"error":{"message":"too many"}}\n\n'), "rejected"),
        (error(400, "This model's maximum context length is 4096 tokens."), "rejected"),
        (LOST, "unknown"),
    ],
)
def test_more_than_fits_is_accepted_or_not(answer, verdict):
    driven = drive("chat.max_tokens_beyond_context", answer)
    assert driven.verdict == verdict
    assert driven.asks[0].first_chunk
    assert (driven.body()["stream"], driven.body()["max_tokens"]) == (True, 10_000_000)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (error(400, "request (2654 tokens) exceeds the available context size (2048 tokens)"), "supported"),
        (error(500, "cuda"), "wrong"),
        (chat("x", prompt=2048), "wrong"),
        (chat("x", tokens=None), "wrong"),
        (chat("x", prompt=2654), "unknown"),
        (LOST, "unknown"),
    ],
)
def test_a_prompt_that_is_too_long_is_an_error(answer, verdict):
    driven = drive("chat.too_long_prompt", answer, context_length=2048)
    assert driven.verdict == verdict
    assert len(driven.body()["messages"][0]["content"].split()) > 2048


def test_the_context_length_may_be_in_an_error():
    told = error(400, "This model's maximum context length is 100 tokens. However, you requested 10000028 tokens")
    assert drive("chat.too_long_prompt", told, error(400)).verdict == "supported"


def test_a_prompt_is_not_made_too_long_blindly():
    assert drive("chat.too_long_prompt", error(400, "no")).verdict == "unknown"
    assert drive("chat.too_long_prompt", context_length=131_072).evidence == "not tried: the context has 131,072 tokens"


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (error(400, "This model's maximum context length is 4096 tokens."), 4096),
        (error(400, "exceeds the available context size (2048 tokens), try increasing it"), 2048),
        (plain({"error": {"message": "too long", "n_prompt_tokens": 12001, "n_ctx": 512}}, 400), 512),
        (error(422, "`max_new_tokens` must be <= max_total_tokens: 1024"), 1024),
        (error(400, "no number here"), None),
        (error(500, "context length is 7"), None),
        (chat("context length is 7"), None),
    ],
)
def test_errors_name_the_context_length(answer, length):
    assert context_in(answer) == length


@pytest.mark.parametrize(
    ("facts", "length"),
    [
        ({"models[m].max_model_len": "32768"}, 32768),
        ({"props.n_ctx": "2048", "models[m].n_ctx": "8192"}, 2048),
        ({"models[m].n_ctx": "8192", "models[m].n_ctx_train": "9"}, 8192),
        ({"server_info.context_length": "4096"}, 4096),
        ({"info.max_total_tokens": "1024"}, 1024),
        ({"props.n_ctx": "none"}, None),
        ({}, 7),
    ],
)
def test_information_routes_tell_the_context_length(facts, length):
    assert context_of(facts, [chat("x"), error(400, "context length is 7")]) == length


def test_nobody_tells_the_context_length():
    assert context_of({}, [chat("x")]) is None
