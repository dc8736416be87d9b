"""Reads an answer out of a generation. Where there is none, the result is None: that is for the caller to count."""

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+\u2212]?\.\d+")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")


def found(pattern: re.Pattern[str], text: str, *, last: bool = False) -> str | None:
    """The first (or last) match, without blanks around it: its first group that is not empty, or all of it."""
    matches = list(pattern.finditer(text))
    if not matches:
        return None
    match = matches[-1 if last else 0]
    if not pattern.groups:
        return match[0].strip()
    return next((group.strip() for group in match.groups() if group), None)


def boxed(text: str) -> str | None:
    r"""What the last `\boxed{…}` holds, braces inside it included; None if it never closes."""
    starts = list(_BOXED.finditer(text))
    if not starts:
        return None
    begin = starts[-1].end()
    depth = 1
    for position in range(begin, len(text)):
        escaped = text[position - 1] == "\\"
        depth += 0 if escaped else {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin:position].strip()
    return None


def last_number(text: str) -> str | None:
    """The last number: `1,234.5`, `-3`, `.5`, `6e23`; a full stop after it is not part of it."""
    return found(_NUMBER, text, last=True)


def letter(text: str, letters: Sequence[str]) -> str | None:
    r"""The letter of the chosen option, among `letters`, by the surest sign there is.

    In this order: the letter is all there is; the last "answer is (X)" or "answer: X"; the last `\boxed{X}`; a letter
    that begins the text, as in "B. Paris"; the last letter in parentheses. A small letter counts where nothing but a
    letter can be meant, so that "the answer is a city" chooses nothing; nor does the I of "Answer: I think".
    """
    capital = "(?:" + "|".join(r"I(?!\s+[a-z])" if each == "I" else re.escape(each) for each in letters) + ")"
    either = "[" + "".join(re.escape(each + each.lower()) for each in letters) + "]"
    signs = (
        (re.compile(rf"^\W*({either})\W*$"), False),
        (re.compile(rf"(?i:answer(?:\s+is)?)[\s:*]*(?:[(\[]\s*({either})\s*[)\]]|[(\[]?({capital})\b(?!'))"), True),
        (re.compile(rf"\\boxed\s*\{{\s*(?:\\text\s*\{{\s*)?\(?({either})\)?\s*\}}"), True),
        (re.compile(rf"^\s*\(?({capital})(?:\)|[.:](?=\s|$))"), False),
        (re.compile(rf"\(({capital})\)"), True),
    )
    said = next((said for sign, last in signs if (said := found(sign, text, last=last))), None)
    return said and said.upper()
