"""JSON documents that survive an edit: every number keeps the digits it was written with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)
_BEGINNING = 100
"""Bytes that tell whether a client puts spaces behind its colons."""
_LONGEST_INT = 4300
"""Digits. Python refuses to convert longer ones, and reads them here as they are written."""


class FloatLiteral(float):
    """A float that remembers how it was written (`1.50`, `-0.0`, `1e400`), so that encoding gives the same text."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> FloatLiteral:
        self = super().__new__(cls, text)
        self.text = text
        return self


class Document(NamedTuple):
    """A parsed body: its value, and whether strict JSON reads it too."""

    value: Any
    exact: bool
    """False where only lenient parsers agree to read it (NaN, duplicate keys, a byte order mark, not UTF-8)."""


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
    return FloatLiteral(text) if text == "-0" or len(text) > _LONGEST_INT else int(text)


def parse(raw: bytes) -> Document:
    """Return the document in `raw`.

    Raises:
        ValueError: not even a lenient parser reads it.
    """
    leniency = _Leniency()
    text = _text(raw, leniency)
    try:
        value = _loads(text, leniency, exact_ints="-0" in text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if b"\\u" in raw and not leniency.seen:
        leniency.seen = _has_lone_surrogate(value)
    return Document(value, not leniency.seen)


def read(raw: bytes) -> Document:
    """Return the same as `parse`, except that floats may be plain where they are written as Python writes them.

    Raises:
        ValueError: not even a lenient parser reads it.
    """
    if b": " not in raw[:_BEGINNING]:  # else it is not compact
        value = _compact(raw)
        if value is not None:
            return Document(value, exact=True)
    return parse(raw)


def _compact(raw: bytes) -> Any:
    """Return the document, where it is written just as it would be again, and None otherwise.

    Then nothing of it can be lost: no digits, no duplicate keys, no order. It is several times as fast as looking at
    every number and every pair, and most clients write compact JSON.
    """
    try:
        value = orjson.loads(raw)
        return value if orjson.dumps(value) == raw else None
    except (orjson.JSONDecodeError, TypeError):  # TypeError: nested more deeply than it would be written
        return None


def _text(raw: bytes, leniency: _Leniency) -> str:
    """Return the text of UTF-8, else what a lenient parser would make of the bytes."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text and not text.startswith("\ufeff") and "\0" not in text:
        return text
    leniency.seen = True
    try:
        return raw.decode(json.detect_encoding(raw), "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape")


def _loads(text: str, leniency: _Leniency, *, exact_ints: bool) -> Any:
    """Parse; integers take the slow way through Python only where one of them needs it."""
    try:
        return json.loads(
            text,
            parse_float=FloatLiteral,
            parse_constant=leniency.constant,
            parse_int=_exact_int if exact_ints else None,
            object_pairs_hook=leniency.pairs,
        )
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _loads(text, leniency, exact_ints=True)


def _has_lone_surrogate(value: Any) -> bool:
    """Whether a string, a key included, holds half a character, which no UTF-8 can carry."""
    for leaf in _leaves(value):
        if type(leaf) is str:
            try:
                leaf.encode()
            except UnicodeEncodeError:
                return True
    return False


def _has_no_number(value: Any) -> bool:
    """Whether a computed float is NaN or infinite; a literal such as `1e400` is written as it was read."""
    return any(type(leaf) is float and not math.isfinite(leaf) for leaf in _leaves(value))


def _leaves(value: Any) -> Iterator[Any]:
    """Yield every key and every value that is neither object nor array, however deep."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            waiting += item.keys()
            waiting += item.values()
        elif type(item) is list:
            waiting += item
        else:
            yield item


def encode(value: Any) -> bytes:
    """Return compact UTF-8 JSON in which every number reads as it was written.

    Raises:
        ValueError: the value holds what JSON cannot carry (NaN, a lone surrogate, more than 254 levels).
    """
    try:
        encoded = orjson.dumps(value, default=_literal)
    except TypeError:
        try:
            encoded = orjson.dumps(_with_large_ints(value), default=_literal)
        except (TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error
    if b"null" in encoded and _has_no_number(value):
        raise ValueError("NaN and Infinity are not JSON")  # orjson writes null for them
    return encoded


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
