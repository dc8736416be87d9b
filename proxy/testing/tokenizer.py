"""A toy tokenizer: reversible, without tables, and the same in every process.

A token is a piece of a word (up to four letters, with the space before it) or any other single character. The id of a
character is its code point, the id of a piece of a word is packed from its letters, so any text can be encoded and
any id in range decoded by arithmetic alone.
"""

import re
from collections.abc import Iterable

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
BASE = len(LETTERS) + 1  # digit 0 means no letter
FIRST_WORD = 0x110000  # just above the last code point
WORDS = BASE**4
VOCABULARY_SIZE = FIRST_WORD + 2 * WORDS
"""Ids are below this number."""

_TOKEN = re.compile(r" ?[A-Za-z]{1,4}|.", re.DOTALL)
_DIGIT = {letter: index + 1 for index, letter in enumerate(LETTERS)}


def split(text: str) -> list[str]:
    """The tokens of a text as strings; joined they are the text."""
    return _TOKEN.findall(text)


def encode(text: str) -> list[int]:
    """The token ids of a text."""
    return [token_id(token) for token in split(text)]


def decode(ids: Iterable[int]) -> str:
    """The text of token ids; raises ValueError for an id outside the vocabulary."""
    return "".join(token_text(number) for number in ids)


def token_id(token: str) -> int:
    """The id of one token as given by split()."""
    letters = token.lstrip(" ")
    if not letters or letters[0] not in _DIGIT:
        return ord(token)
    number = 0
    for letter in letters:
        number = number * BASE + _DIGIT[letter]
    return FIRST_WORD + number + (WORDS if token[0] == " " else 0)


def token_text(number: int) -> str:
    """The text of one id; lone surrogates, which no UTF-8 text can hold, become U+FFFD."""
    if not 0 <= number < VOCABULARY_SIZE:
        raise ValueError(f"token id {number} is out of vocabulary (0 to {VOCABULARY_SIZE - 1})")
    if number < FIRST_WORD:
        return "\ufffd" if 0xD800 <= number <= 0xDFFF else chr(number)
    space, packed = divmod(number - FIRST_WORD, WORDS)
    letters = ""
    while packed:
        packed, digit = divmod(packed, BASE)
        letters = (LETTERS[digit - 1] if digit else "") + letters
    return " " * space + letters
