import json
from importlib.resources import files

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.tasks import find_task
from harness.tasks.base import Sample
from harness.tasks.smoke import SmokeTask, _contains, _words

TASK = SmokeTask()


def sample(*accepted: str, group: str = "capitals") -> Sample:
    return Sample("x", "a question", accepted, group)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Paris", 1.0),
        (" The capital of France is PARIS.", 1.0),
        ("\n\n Paris!\nLondon", 1.0),
        ("London\nParis", 0.0),
        ("Parisian", 0.0),
        ("", 0.0),
        ("   \n ", 0.0),
    ],
)
def test_an_accepted_answer_must_be_whole_words_of_the_first_line(text, score):
    assert TASK.grade(sample("Paris"), text).score == score


def test_several_words_must_follow_each_other():
    assert TASK.grade(sample("forty-two"), "It is forty two.").score == 1.0
    assert TASK.grade(sample("forty-two"), "forty and two").score == 0.0


@pytest.mark.parametrize(("text", "score"), [("Yes, it is.", 1.0), ("No, yes", 0.0), ("It is. Yes", 0.0), ("", 0.0)])
def test_a_yes_or_no_question_is_graded_by_the_first_word(text, score):
    assert TASK.grade(sample("yes", group="yes-no"), text).score == score


def test_the_answer_read_is_the_first_line_that_is_not_empty():
    assert TASK.grade(sample("5"), "\n  2 + 3 = 5 \nmore").answer == "2 + 3 = 5"


def test_numbers_are_not_found_inside_numbers():
    assert TASK.grade(sample("5", "five"), "15").score == 0.0


def test_the_questions_are_sound():
    samples = TASK.samples()
    assert len(samples) == 48
    assert [each.id for each in samples] == sorted({each.id for each in samples})
    assert len({each.query for each in samples}) == len(samples)
    for each in samples:
        assert each.accepted
        assert TASK.grade(each, each.accepted[0]).score == 1.0
        if each.group != "yes-no":  # repeating the question must not be an answer
            assert not any(_contains(_words(each.query), _words(right)) for right in each.accepted)


def test_the_data_is_json_lines_in_the_package():
    lines = files("harness.tasks").joinpath("smoke.jsonl").read_text().splitlines()
    assert all(set(json.loads(line)) == {"id", "group", "question", "accepted"} for line in lines)


def test_chat_asks_in_one_message_without_a_system_prompt():
    body = TASK.request(TASK.samples()[0], EndpointType.CHAT)
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert (body["temperature"], body["max_tokens"]) == (0, 24)


def test_completions_ask_with_examples_up_to_the_line_end():
    body = TASK.request(TASK.samples()[0], EndpointType.COMPLETIONS)
    assert body["prompt"].endswith("Question: What is 2 plus 3?\nAnswer:")
    assert body["stop"] == ["\n"]


def test_no_example_is_a_question():
    prompt = TASK.request(TASK.samples()[0], EndpointType.COMPLETIONS)["prompt"]
    assert not any(f"Question: {each.query}\n" in prompt for each in TASK.samples()[1:])


def test_unknown_task_suggests_the_nearest_name():
    with pytest.raises(
        ConfigurationError, match="unknown task 'smok'; did you mean 'smoke'\\? Valid: gsm8k, mmlu_pro, "
    ):
        find_task("smok")
