import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scoring.normalize import Normalization


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "  The  Cat\n", "the cat"),
        ({"case": False}, "The Cat", "The Cat"),
        ({"whitespace": False}, " A ", " a "),
        ({"punctuation": True}, "U.S.A.!", "usa"),
        ({"articles": True}, "The cat and a theme", "cat and theme"),
        ({"ignore": (re.compile(r"\(.*?\)"), re.compile("x"))}, "x (note) y", "y"),
        ({}, "\uff11\uff12", "12"),
        ({"unicode": False}, "\uff11", "\uff11"),
    ],
)
def test_what_does_not_count_is_taken_out(options, text, expected):
    assert Normalization(**options)(text) == expected


@given(st.text())
def test_the_default_is_idempotent(text):
    once = Normalization(case=False)(text)
    assert Normalization(case=False)(once) == once
