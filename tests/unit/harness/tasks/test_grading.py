import pytest
from pydantic import TypeAdapter

from harness.tasks.grading import grader
from harness.tasks.jsonl_config import GradingConfig

OPTIONS = {"choices": ["red", "green", "blue"]}


def verdict(grading: dict, text: str, *targets, row=None):
    judge = grader(TypeAdapter(GradingConfig).validate_python(grading))
    row = row or {}
    return judge(row, judge.accepted(row, targets), text)


@pytest.mark.parametrize(
    ("options", "text", "target", "score"),
    [
        ({}, "  PARIS ", "Paris", 1),
        ({"ignore_case": False}, "PARIS", "Paris", 0),
        ({"ignore_punctuation": True}, "U.S.", "us", 1),
        ({"ignore_articles": True}, "the cat", "Cat", 1),
        ({"ignore_whitespace": False}, "a  b", "a b", 0),
        ({"ignore": [r"\s*\(.*\)"]}, "Paris (France)", "Paris", 1),
        ({"extract": r"<a>(.*?)</a>"}, "<a>x</a> <a>Paris</a>", "Paris", 1),
        ({"extract": r"<a>(.*?)</a>"}, "Paris", "Paris", None),
        ({}, "  ", "Paris", None),
    ],
)
def test_exact(options, text, target, score):
    found = verdict({"type": "exact", **options}, text, target)
    assert (found.score, found.answer is None) == (score or 0, score is None)


@pytest.mark.parametrize(
    ("options", "text", "target", "score"),
    [
        ({}, "It is $1,200.00.", "1200", 1),
        ({}, r"So \boxed{\frac{1}{2}}, not 3", "0.5", 1),
        ({}, "1/2", "0.5", 1),
        ({}, "3 or 4", "3", 0),
        ({"tolerance": 0.01}, "3.14", "3.1416", 1),
        ({"relative_tolerance": 0.01}, "99", "100", 1),
        ({"relative_tolerance": 0.01}, "98", "100", 0),
        ({"extract": r"= (\S+)"}, "x = 5 of 7", "5", 1),
        ({"extract": r"= (\S+)"}, "5", "5", None),
        ({"extract": r"= (\S+)"}, "= five", "5", None),
        ({}, "none", "5", None),
    ],
)
def test_numeric(options, text, target, score):
    found = verdict({"type": "numeric", **options}, text, target)
    assert (found.score, found.answer is None) == (score or 0, score is None)


@pytest.mark.parametrize(
    ("options", "text", "score"),
    [
        ({"pattern": r"#(\w+)"}, "#a #PARIS", 1),
        ({"pattern": r"#(\w+)", "which": "first"}, "#a #paris", 0),
        ({"pattern": r"#(\w+)", "ignore_case": False}, "#PARIS", 0),
        ({"pattern": r"#(\w+)"}, "paris", None),
        ({"pattern": "yes", "compare": False}, "Oh YES", 1),
        ({"pattern": "yes", "compare": False}, "no", None),
    ],
)
def test_regex(options, text, score):
    found = verdict({"type": "regex", **options}, text, "Paris")
    assert (found.score, found.answer is None) == (score or 0, score is None)


def test_a_pattern_that_is_not_compared_needs_no_target():
    assert verdict({"type": "regex", "pattern": "x", "compare": False}, "x").score == 1


@pytest.mark.parametrize("target", [1, "B", "b", "green"])
def test_a_choice_may_be_given_as_number_letter_or_text(target):
    found = verdict({"type": "multiple_choice"}, "The answer is (B).", target, row=OPTIONS)
    assert found == ("B", 1.0)


@pytest.mark.parametrize(
    ("options", "text", "answer"),
    [
        ({}, "green", "B"),
        ({}, "C. blue", "C"),
        ({}, "The answer is (D).", None),
        ({}, "", None),
        ({"extract": r"Choice: (\w)"}, "The answer is (A). Choice: b", "B"),
        ({"extract": r"Choice: (\w)"}, "The answer is (B).", None),
        ({"extract": r"Choice: (\w)"}, "Choice: X", None),
    ],
)
def test_multiple_choice(options, text, answer):
    found = verdict({"type": "multiple_choice", **options}, text, "B", row=OPTIONS)
    assert found == (answer, float(answer == "B"))


@pytest.mark.parametrize("target", [3, -1, "D", "purple"])
def test_a_target_that_is_no_option_is_named(target):
    with pytest.raises(ValueError, match=f"the target {target!r} is no letter, number or text of the 3 options"):
        verdict({"type": "multiple_choice"}, "A", target, row=OPTIONS)


@pytest.mark.parametrize("kind", ["exact", "numeric", "multiple_choice"])
def test_a_target_is_needed(kind):
    with pytest.raises(ValueError, match="there is no target"):
        verdict({"type": kind}, "A", row=OPTIONS)


def test_without_its_judge_nothing_is_graded():
    assert verdict({"type": "llm_judge", "prompt": "p"}, "x", "t") == (None, 0.0)
