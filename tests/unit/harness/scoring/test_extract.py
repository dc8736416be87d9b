import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scoring.extract import boxed, found, last_number, letter


def test_found_gives_the_first_or_last_match_without_blanks():
    pattern = re.compile(r"\d+ ?")
    assert (found(pattern, "a 1 b 2 "), found(pattern, "a 1 b 2 ", last=True)) == ("1", "2")
    assert found(pattern, "none") is None


def test_found_gives_the_first_group_that_is_not_empty():
    pattern = re.compile(r"x(\d*)y(\d*)")
    assert found(pattern, "xy7") == "7"
    assert found(pattern, "xy") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{ 2 }", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\fbox {x}", "x"),
        (r"\boxed{1", None),
        ("no box", None),
    ],
)
def test_boxed(text, expected):
    assert boxed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is 5.", "5"),
        ("1,234.5 apples", "1,234.5"),
        ("from 3 to -7", "-7"),
        ("\u22127", "\u22127"),
        ("costs $.50", ".50"),
        ("6.02e23 of them", "6.02e23"),
        ("1,2", "2"),
        ("none", None),
    ],
)
def test_last_number(text, expected):
    assert last_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", "B"),
        (" (b). ", "B"),
        ("**C**", "C"),
        ("The answer is (A). No: the answer is (D).", "D"),
        ("The correct answer: B", "B"),
        ("Answer: **C**, as shown.", "C"),
        (r"Thus \boxed{\text{A}}", "A"),
        ("B. Paris", "B"),
        ("(D) is right", "D"),
        ("I would choose (C), a city", "C"),
        ("The answer is a city", None),
        ("The answer is (a).", "A"),
        ("**Answer:** D", "D"),
        ("answer: [c]", "C"),
        ("The answer is A because of it", "A"),
        ("I think a dog", None),
        ("The answer is E", None),
        ("Answer: Boston", None),
        ("Answer: D'Artagnan", None),
        ("The answer isn't here", None),
        ("b", "B"),
        ("", None),
    ],
)
def test_letter(text, expected):
    assert letter(text, "ABCD") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Answer: I think so", None), ("Answer: I", "I"), ("The answer is (I).", "I"), ("I. one", "I")],
)
def test_the_pronoun_is_no_letter(text, expected):
    assert letter(text, "ABCDEFGHIJ") == expected


@given(st.text(), st.sampled_from(["AB", "ABCDEFGHIJ"]))
def test_a_letter_is_one_of_the_options_or_none(text, letters):
    assert letter(text, letters) in {*letters, None}


@given(st.text() | st.text(r"\boxed{} 1.,-e"))
def test_what_is_found_is_a_part_of_the_text(text):
    assert (boxed(text) or "") in text
    assert (last_number(text) or "") in text


@pytest.mark.parametrize("filler", [" ", "\n", "(", "answer ", "\\boxed{ ", "9", "1,", "*"])
def test_a_model_that_goes_round_in_circles_is_read_in_no_time(filler):
    text = f"The answer{filler * 20000}"
    assert letter(text, "ABCD") is None
    assert boxed(text) is None
    assert (last_number(text) is None) == (filler not in {"9", "1,"})
