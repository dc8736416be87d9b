import math

import pytest

from proxy.testing.logprobs import chat_shape, completion_shape, score

TOKENS = ["The", " sky", " is", " blue", "."]


@pytest.mark.parametrize("generated", [True, False])
def test_probabilities_at_a_position_never_add_up_to_more_than_one(generated):
    for position in score("Why?", TOKENS, 20, generated):
        candidates = {**dict(position.top), position.token: position.logprob}
        assert sum(math.exp(logprob) for logprob in candidates.values()) <= 1
        assert [logprob for _, logprob in position.top] == sorted((lp for _, lp in position.top), reverse=True)
        assert len(dict(position.top)) == 20


def test_generated_tokens_are_the_most_likely_ones_and_given_ones_not_always():
    assert all(position.top[0] == (position.token, position.logprob) for position in score("x", TOKENS, 3, True))
    given = score("x", TOKENS * 10, 1, False)
    assert 0 < sum(position.top[0][0] == position.token for position in given) < len(given)


def test_a_score_depends_on_what_comes_before_and_not_on_what_comes_after():
    assert score("", TOKENS, 1, False)[:2] == score("", TOKENS[:2], 1, False)
    assert score("", TOKENS, 1, False)[1:] == score("The", TOKENS[1:], 1, False)
    assert score("A", TOKENS, 1, True)[3].logprob != score("B", TOKENS, 1, True)[3].logprob


def test_completion_shape_has_four_lists_of_one_length():
    shape = completion_shape(score("", TOKENS, 2, False), offset=10, first_unscored=True)
    assert shape["tokens"] == TOKENS
    assert shape["text_offset"] == [10, 13, 17, 20, 25]
    assert (shape["token_logprobs"][0], shape["top_logprobs"][0]) == (None, None)
    for token, logprob, top in zip(TOKENS[1:], shape["token_logprobs"][1:], shape["top_logprobs"][1:], strict=True):
        assert top[token] == logprob < 0
        assert len(top) in (2, 3)


def test_chat_shape_carries_the_bytes_of_each_token():
    [entry] = chat_shape(score("", ["é"], 2, True))["content"]
    assert entry["bytes"] == [195, 169]
    assert entry["top_logprobs"][0]["token"] == "é"
    assert len(entry["top_logprobs"]) == 2
