import pytest

from tests.unit.probing.driving import chat, drive, error, text


def answers(*said):
    return [chat(each) for each in said]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (["a", "a", "b", "a", "c"], "supported"),
        (["a", "b"], "ignored"),
        (["a", "a", "a", "a", "a", "b", "b", "b"], "ignored"),
        (["a", "a", "a", "a", "a", "ab", "ac", "ad", "ab"], "supported"),
        (["a", ""], "unknown"),
    ],
)
def test_temperature_shows_in_the_texts(said, verdict):
    assert drive("chat.temperature", *answers(*said)).verdict == verdict


def test_temperature_is_asked_at_0_twice_and_at_1_thrice():
    driven = drive("completions.temperature", *[text(each) for each in "aabcd"])
    assert [driven.body(index)["temperature"] for index in range(5)] == [0, 0, 1, 1, 1]
    assert [ask.take for ask in driven.asks] == [0, 1, 0, 1, 2]
    assert driven.evidence == 'at 0 twice "a", at 1 "b"'


def test_a_rejected_parameter_is_rejected():
    assert drive("chat.temperature", error(400, "only 1 is supported")).evidence == "400: only 1 is supported"


def test_answers_that_begin_alike_are_asked_for_longer():
    driven = drive("chat.temperature", *answers("a", "a", "a", "a", "a", "ab", "ac", "ad", "ab"))
    assert [driven.body(index)["max_tokens"] for index in range(9)] == [12] * 5 + [64] * 4


@pytest.mark.parametrize("name", ["top_p", "top_k"])
@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (["b", "c", "a", "a", "a"], "supported"),
        (["b", "c", "a", "a", "b"], "ignored"),
        (["a", "a", "a", "a", "a", "a", "a"], "unknown"),
    ],
)
def test_top_p_and_top_k_leave_one_text(name, said, verdict):
    assert drive(f"chat.{name}", *answers(*said)).verdict == verdict


def test_what_they_are_set_to():
    draws = answers("a", "b", "c")
    assert drive("chat.top_p", *draws, *answers("a", "b")).body()["top_p"] == 1e-5
    assert drive("chat.top_k", *draws, *answers("a", "b")).body()["top_k"] == 1
    refused = error(422, "Unexpected fields in the request: {'top_k'}")
    assert drive("chat.top_k", *draws, refused).verdict == "rejected"


def test_what_is_rejected_shows_even_where_answers_never_differ():
    alike = answers(*"aaaaaa")
    for name in ("top_p", "top_k", "seed"):
        assert drive(f"chat.{name}", *alike, error(422)).verdict == "rejected"


def test_a_refusal_of_something_else_is_not_theirs():
    for name in ("top_p", "top_k", "seed"):
        assert drive(f"chat.{name}", error(400, "no temperature")).verdict == "unknown"


def test_a_server_without_temperature_is_asked_without():
    driven = drive("chat.top_p", *answers("a", "b", "c", "a", "a"), takes_temperature=False)
    assert driven.verdict == "supported"
    assert all("temperature" not in driven.body(index) for index in range(5))


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (["x", "y", "z", "a", "a", "b"], "supported"),
        (["x", "y", "z", "a", "a", "a", "b"], "supported"),
        (["x", "y", "z", "a", "b"], "ignored"),
        (["x", "y", "z", "a", "a", "a", "a"], "wrong"),
        (["a", "a", "a", "a", "a", "a", "a"], "unknown"),
    ],
)
def test_seed_shows_in_the_texts(said, verdict):
    assert drive("chat.seed", *answers(*said)).verdict == verdict
