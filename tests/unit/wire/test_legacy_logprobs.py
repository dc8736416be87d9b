import pytest

from proxy.wire.legacy_logprobs import LegacyLogprobs


def entry(token, *top):
    return {"token": token, "logprob": -1.5, "top_logprobs": [{"token": item, "logprob": -2.0} for item in top]}


def test_entries_become_lists():
    choice = {"logprobs": {"content": [entry("ab", "ab", "c"), entry("d")]}}

    LegacyLogprobs().reshape(choice, 0)

    assert choice["logprobs"] == {
        "tokens": ["ab", "d"],
        "token_logprobs": [-1.5, -1.5],
        "top_logprobs": [{"ab": -2.0, "c": -2.0}, {}],
        "text_offset": [0, 2],
    }


def test_offsets_of_each_choice_go_on_from_chunk_to_chunk():
    reshaped = LegacyLogprobs()
    offsets = []
    for index, token in [(0, "ab"), (1, "x"), (0, "c"), (1, "y")]:
        choice = {"logprobs": {"content": [entry(token)]}}
        reshaped.reshape(choice, index)
        offsets += choice["logprobs"]["text_offset"]

    assert offsets == [0, 0, 2, 1]


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"tokens": ["a"], "content": []},
        {"content": None},
        {"content": ["odd"]},
        {"content": [{"token": 1, "logprob": 0}]},
        {"content": [{"token": "a"}]},
    ],
)
def test_what_has_not_that_shape_stays(logprobs):
    choice = {"logprobs": logprobs}

    LegacyLogprobs().reshape(choice, 0)

    assert choice == {"logprobs": logprobs}


def test_without_alternatives_there_are_none():
    choice = {"logprobs": {"content": [{"token": "a", "logprob": -1, "top_logprobs": None}]}}

    LegacyLogprobs().reshape(choice, 0)

    assert choice["logprobs"]["top_logprobs"] == [{}]
