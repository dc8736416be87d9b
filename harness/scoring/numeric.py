r"""Numbers as models write them: `$1,234.50`, `50%`, `1/2`, `\frac{1}{2}`, `6.02e23`, and a real minus sign."""

import math
import re
from fractions import Fraction

_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,3})?")
_LATEX_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\s*\{\s*([^{}]+?)\s*\}\s*\{\s*([^{}]+?)\s*\}")
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}")
_LONGEST = 1000  # what is longer is a loop of the model, and more digits than Python converts
_NOISE = re.compile(r"\\[,;!: ]|\\(?:left|right|displaystyle)(?![a-zA-Z])|[$€£¥\s{}]")


def parse_number(text: str) -> Fraction | None:
    r"""The number that `text` is, exactly; None if it is no number, or more than one.

    Currency signs, thousands separators, LaTeX spacing and units in `\text{…}` are dropped, `%` divides by 100, and a
    full stop at the end is none of the number. `1/0` is no number.
    """
    cleaned = _LATEX_TEXT.sub("", text.replace("\u2212", "-").replace("\\%", "%").replace("\\$", "$"))
    cleaned = _LATEX_FRACTION.sub(r"\1\2/\3", cleaned)
    cleaned = _NOISE.sub("", cleaned).removesuffix(".")
    percent = cleaned.endswith("%")
    numerator, slash, denominator = cleaned.removesuffix("%").partition("/")
    value, divisor = _plain(numerator), _plain(denominator) if slash else Fraction(1)
    if value is None or not divisor:
        return None
    return value / divisor / (100 if percent else 1)


def close(first: Fraction, second: Fraction, *, absolute: float = 0.0, relative: float = 0.0) -> bool:
    """Whether two numbers are equal within either tolerance: |a - b| ≤ max(absolute, relative·|second|), exactly.

    `second` is the right one: a relative tolerance is a share of it.
    """
    for name, tolerance in (("absolute", absolute), ("relative", relative)):
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"{name} tolerance {tolerance} is not a number from 0 up")
    # Through text, so that a tolerance of 0.1 is a tenth, and 0.3 is within 0.1 of 0.2.
    return abs(first - second) <= max(Fraction(str(absolute)), Fraction(str(relative)) * abs(second))


def _plain(text: str) -> Fraction | None:
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return None
    return Fraction(text.replace(",", ""))
