import pytest

from proxy.testing.errors import ApiError
from proxy.testing.generation import Sampling, default_answer, generate


def test_an_answer_is_cut_at_the_earliest_stop_string():
    said = generate("one two three", Sampling(stop=("three", " tw")))
    assert (said.text, said.finish_reason, said.stop_reason) == ("one", "stop", " tw")


def test_a_stop_string_may_end_inside_a_token():
    said = generate("abcd", Sampling(stop=("cd",)))
    assert said.tokens == ["ab"]


@pytest.mark.parametrize(
    ("limit", "text", "reason"), [(2, "one two", "length"), (9, "one two three", "stop"), (0, "", "length")]
)
def test_an_answer_is_cut_at_the_token_limit(limit, text, reason):
    said = generate("one two three", Sampling(max_tokens=limit))
    assert (said.text, said.finish_reason) == (text, reason)


def test_reasoning_counts_towards_the_limit():
    said = generate("one two", Sampling(max_tokens=3), reasoning="well so")
    assert (said.reasoning, said.tokens, said.count) == (["well", " so"], ["one"], 3)


def test_ignore_eos_goes_on_to_the_limit_and_min_tokens_to_the_minimum():
    assert generate("a", Sampling(max_tokens=50, ignore_eos=True)).count == 50
    assert generate("a", Sampling(min_tokens=7)).count >= 7


def test_the_default_answer_is_a_pure_function():
    assert default_answer("p", "n") == default_answer("p", "n")
    assert len({default_answer("p", "n"), default_answer("q", "n"), default_answer("p", "m")}) == 3


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": [1]}, "stop"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_bad_parameters_are_refused_by_name(body, param):
    with pytest.raises(ApiError) as caught:
        Sampling.of(body)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_explicit_nulls_are_defaults():
    assert Sampling.of(dict.fromkeys(["temperature", "n", "seed", "stop", "max_tokens"])) == Sampling()
