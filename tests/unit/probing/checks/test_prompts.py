import pytest

from tests.unit.probing.driving import drive, error, plain, text

IDS = {"tokens": [9, 8, 7], "count": 3}


@pytest.mark.parametrize("name", ["prompt_list", "prompt_ids_list"])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(text("a", "b"), "supported"), (text("a"), "wrong"), (error(400, "prompt must be a string."), "rejected")],
)
def test_several_prompts_have_as_many_choices(name, answer, verdict):
    driven = drive(f"completions.{name}", answer)
    assert driven.verdict == verdict
    assert len(driven.body()["prompt"]) == 2


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (text("a", prompt=3), "supported"),
        (text("a", prompt=4), "supported"),  # the BOS token
        (text("a", tokens=None), "supported"),
        (text("a", prompt=12), "wrong"),  # read as text
        (text("a", "b", "c", prompt=3), "wrong"),  # read as three prompts
        (error(400, "prompt must be a string."), "rejected"),
    ],
)
def test_ids_are_one_prompt(answer, verdict):
    driven = drive("completions.prompt_ids", plain(IDS), answer)
    assert driven.verdict == verdict
    assert driven.body()["prompt"] == [9, 8, 7]


def test_ids_are_made_up_where_the_server_tells_none():
    driven = drive("completions.prompt_ids", plain({"tokens": []}), error(404), text("a", prompt=6))
    assert driven.verdict == "supported"
    assert len(driven.body()["prompt"]) == 6


@pytest.mark.parametrize(
    ("one", "both", "verdict"),
    [
        (text("a", prompt=7), text("a", "b", prompt=14), "supported"),
        (text("a", prompt=7), text("a", "b", prompt=7), "wrong"),  # llama.cpp
        (text("a", prompt=7), text("a", prompt=7), "unknown"),
        (text("a", tokens=None), text("a", "b", prompt=7), "unknown"),
    ],
)
def test_usage_counts_all_prompts(one, both, verdict):
    assert drive("completions.batch_usage", one, both).verdict == verdict
