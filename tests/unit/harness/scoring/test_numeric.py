from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scoring.numeric import close, parse_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", 42),
        (" $1,234.50 ", Fraction("1234.5")),
        ("-7.", -7),
        ("\u22127", -7),
        ("+.5", Fraction(1, 2)),
        ("50%", Fraction(1, 2)),
        (r"50\%", Fraction(1, 2)),
        ("1/3", Fraction(1, 3)),
        (r"\frac{1}{3}", Fraction(1, 3)),
        (r"-\dfrac{ 1 }{ 4 }", Fraction(-1, 4)),
        (r"\$5\text{ dollars}", 5),
        (r"12\,000", 12000),
        ("6.02e23", 602 * 10**21),
        ("1e3", 1000),
        ("{5}", 5),
    ],
)
def test_numbers_as_models_write_them(text, expected):
    assert parse_number(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "-",
        "five",
        "1/0",
        "1,2",
        "12,34",
        "3 apples",
        "1.2.3",
        "nan",
        "inf",
        "1/2/3",
        "x=5",
        "e5",
        "1e",
        "\u00b2",
        "9" * 5000,
        "1" + ",000" * 400,
    ],
)
def test_what_is_no_number(text):
    assert parse_number(text) is None


@given(st.fractions(max_denominator=10**6))
def test_every_fraction_is_read_back(value):
    assert parse_number(f"{value.numerator}/{value.denominator}") == value
    assert parse_number(f"{value.numerator:,}") == value.numerator


@given(st.text() | st.text("0123456789 .,/-+e%$"))
def test_any_text_is_a_number_or_none(text):
    assert isinstance(parse_number(text), Fraction | None)


def test_tolerances_are_as_written_and_their_ends_count():
    assert close(
        Fraction("0.3"), Fraction("0.2"), absolute=0.1
    )  # in binary 0.3 - 0.2 is less than 0.1, 0.2 - 0.1 is not
    assert close(Fraction("0.1"), Fraction("0.2"), absolute=0.1)
    assert not close(Fraction("0.301"), Fraction("0.2"), absolute=0.1)
    assert close(Fraction(101), Fraction(100), relative=0.01)
    assert not close(Fraction(100), Fraction(98), relative=0.02)
    assert close(Fraction(-99), Fraction(-100), relative=0.01)
    assert not close(Fraction(1), Fraction(2))


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_from_0_up(tolerance):
    with pytest.raises(ValueError, match=f"absolute tolerance {tolerance} is not"):
        close(Fraction(1), Fraction(1), absolute=tolerance)


@given(st.text("0123456789,.eE+-/%$ {}\\frac", max_size=12))
def test_what_looks_like_a_number_never_raises(text):
    value = parse_number(text)
    assert value is None or isinstance(value, Fraction)
