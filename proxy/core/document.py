"""JSON documents that survive an edit: every number keeps the digits it was written with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)


class FloatLiteral(float):
    """A float that remembers how it was written (`1.50`, `-0.0`, `1e400`), so that encoding gives the same text."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> FloatLiteral:
        self = super().__new__(cls, text)
        self.text = text
        return self


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed body: its value, and whether strict JSON reads it too."""

    value: Any
    exact: bool
    """False where only lenient parsers agree to read it (NaN, duplicate keys, a byte order mark, invalid UTF-8)."""


class _Leniency:
    """Collects what Python's parser accepts and RFC 8259 does not."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = False

    def constant(self, name: str) -> float:
        self.seen = True
        return float(name)

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            self.seen = True
        return result


def _exact_int(text: str) -> int | FloatLiteral:
    return FloatLiteral(text) if text == "-0" else int(text)


def parse(raw: bytes) -> Document:
    """Return the document in `raw`.

    Raises:
        ValueError: not even a lenient parser reads it.
    """
    leniency = _Leniency()
    try:
        text: str | bytes = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw  # json.loads guesses UTF-16 and UTF-32 and lets surrogates pass: lenient by definition
        leniency.seen = True
    if raw.startswith(b"\xef\xbb\xbf"):
        text = raw
        leniency.seen = True
    try:
        value = json.loads(
            text,
            parse_float=FloatLiteral,
            parse_constant=leniency.constant,
            parse_int=_exact_int if b"-0" in raw else None,
            object_pairs_hook=leniency.pairs,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if b"\\u" in raw and not leniency.seen:
        leniency.seen = not _encodable(value)
    return Document(value, not leniency.seen)


def _encodable(value: Any) -> bool:
    """False where a string holds a lone surrogate, which no UTF-8 can carry."""
    try:
        encode(value)
    except ValueError:
        return False
    return True


def encode(value: Any) -> bytes:
    """Return compact UTF-8 JSON in which every number reads as it was written.

    Raises:
        ValueError: the value holds what JSON cannot carry (a lone surrogate, more than 254 levels).
    """
    try:
        return orjson.dumps(value, default=_literal)
    except TypeError:
        try:
            return orjson.dumps(_with_large_ints(value), default=_literal)
        except TypeError as error:
            raise ValueError(str(error)) from error


def _literal(value: Any) -> orjson.Fragment:
    if type(value) is FloatLiteral:
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _with_large_ints(value: Any) -> Any:
    """Return a copy in which integers beyond 64 bits are fragments: orjson refuses them as numbers."""
    if type(value) is dict:
        return {key: _with_large_ints(item) for key, item in value.items()}
    if type(value) is list:
        return [_with_large_ints(item) for item in value]
    if type(value) is int and not MIN_INT64 <= value <= MAX_INT64:
        return orjson.Fragment(str(value))
    return value
