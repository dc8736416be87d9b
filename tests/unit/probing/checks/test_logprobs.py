import pytest

from tests.unit.probing.driving import chat, drive, error, plain, text

TOKEN = {"token": "A", "logprob": -2.8, "top_logprobs": [{"token": "The"}, {"token": "One"}]}
LLAMACPP = {
    "content": [
        {
            "id": 253, "token": " a", "bytes": [32, 97], "logprob": -0.115,
            "top_logprobs": [{"id": 253, "token": " a", "logprob": -0.115}],
        }
    ]
}  # fmt: skip
"""Of /v1/completions: the shape of chat, and with echo only the generated token."""
ECHOED = ["Once", " upon", " a", " time", ","]
PROMPT = {
    "tokens": ECHOED,
    "token_logprobs": [None, -1.5, -0.1, -0.2, -0.3],
    "top_logprobs": [None, {}, {}, {}, {}],
    "text_offset": [0, 4, 9, 11, 16],
}


def with_logprobs(logprobs, told=" a", make=text):
    document = make(told).fields
    document["choices"][0]["logprobs"] = logprobs
    return plain(document)


@pytest.mark.parametrize(
    ("logprobs", "verdict"),
    [
        ({"content": [TOKEN]}, "supported"),
        (None, "ignored"),
        ({"content": []}, "ignored"),
        ({"content": [{"token": "A"}]}, "wrong"),
        ({"content": ["A"]}, "wrong"),
    ],
)
def test_chat_has_log_probabilities(logprobs, verdict):
    driven = drive("chat.logprobs", with_logprobs(logprobs, make=chat))
    assert driven.verdict == verdict
    assert (driven.body()["logprobs"], driven.body()["top_logprobs"]) == (True, 2)


@pytest.mark.parametrize(
    ("content", "verdict"),
    [([TOKEN, TOKEN], "supported"), ([TOKEN, {"token": "b"}], "ignored"), (["A"], "ignored")],
)
def test_alternatives_are_as_many_as_asked(content, verdict):
    assert drive("chat.top_logprobs", with_logprobs({"content": content}, make=chat)).verdict == verdict


def test_a_model_that_still_reasons_shows_nothing():
    document = with_logprobs({"content": []}, "", make=chat).fields
    document["choices"][0]["message"]["reasoning"] = "Hm"
    assert drive("chat.logprobs", plain(document)).verdict == "unknown"


def test_an_answer_without_choices_has_none():
    assert drive("chat.logprobs", chat()).verdict == "ignored"
    assert drive("completions.logprobs", text()).verdict == "ignored"
    assert drive("chat.top_logprobs", error(400)).verdict == "rejected"


@pytest.mark.parametrize(
    ("logprobs", "verdict"),
    [
        ({"tokens": ["a"], "token_logprobs": [-0.1], "top_logprobs": [{}]}, "supported"),
        (LLAMACPP, "wrong"),
        (None, "ignored"),
        ({"tokens": ["a"], "token_logprobs": []}, "wrong"),
        ({"tokens": [], "token_logprobs": [], "top_logprobs": []}, "wrong"),
        ([-0.1], "wrong"),
    ],
)
def test_completions_have_parallel_lists(logprobs, verdict):
    assert drive("completions.logprobs", with_logprobs(logprobs)).verdict == verdict


@pytest.mark.parametrize(
    ("told", "verdict"), [("Once upon a time, there was a", "supported"), (" a", "ignored"), (None, "ignored")]
)
def test_echo_repeats_the_prompt(told, verdict):
    driven = drive("completions.echo", with_logprobs(None, told))
    assert driven.verdict == verdict
    assert (driven.body()["echo"], driven.body()["logprobs"], driven.body()["max_tokens"]) == (True, 1, 1)


def test_echo_of_nothing_is_ignored():
    assert drive("completions.echo", text()).verdict == "ignored"


@pytest.mark.parametrize(
    ("logprobs", "verdict"),
    [
        (PROMPT, "supported"),
        (None, "ignored"),
        (LLAMACPP, "ignored"),
        ({"content": [{"token": token} for token in ECHOED]}, "wrong"),
        ({"tokens": [" a"], "token_logprobs": [-0.1], "top_logprobs": [{}]}, "ignored"),
        ({"tokens": "Once"}, "ignored"),
        (PROMPT | {"token_logprobs": [None] * 5}, "wrong"),
        (PROMPT | {"token_logprobs": [None, 0, 0, 0, 0]}, "wrong"),
        (PROMPT | {"token_logprobs": [None, -1]}, "wrong"),
    ],
)
def test_the_prompts_tokens_have_log_probabilities(logprobs, verdict):
    assert drive("completions.echo_logprobs", with_logprobs(logprobs)).verdict == verdict
