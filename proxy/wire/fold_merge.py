"""How the parts of a stream make a whole: a rule for each known field, a strict one for every other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from proxy.core.document import FloatLiteral

Rule = Callable[[list[Any]], Any]
"""From the values of one field, in order and without nulls, to the value of the whole. Raises Lossy."""


class Lossy(ValueError):
    """A conversion would lose something, or would have to guess."""


def merge(parts: Iterable[Mapping[str, Any]], rules: Mapping[str, Rule], other: Rule) -> dict[str, Any]:
    """Return the whole of `parts`, each field by its rule, by `other` where it has none.

    A null says nothing about a field that has a value elsewhere; a field that is null wherever it is stays null.

    Raises:
        Lossy: a rule cannot tell the whole.
    """
    said: dict[str, list[Any]] = {}
    for part in parts:
        for name, value in part.items():
            said.setdefault(name, []).extend(() if value is None else (value,))
    return {name: rules.get(name, other)(values) if values else None for name, values in said.items()}


def joined(values: list[Any]) -> str:
    """Text that comes in pieces."""
    if not all(type(value) is str for value in values):
        raise Lossy("pieces of a text are not text")
    return "".join(values)


def extended(values: list[Any]) -> list[Any]:
    """A list that comes in pieces."""
    if not all(type(value) is list for value in values):
        raise Lossy("pieces of a list are not lists")
    return [item for value in values for item in value]


def first(values: list[Any]) -> Any:
    """A field of which only the first value counts."""
    return values[0]


def last(values: list[Any]) -> Any:
    """A field of which only the last value counts."""
    return values[-1]


def same(values: list[Any]) -> Any:
    """A field that is repeated."""
    if not all(alike(values[0], value) for value in values[1:]):
        raise Lossy("a field has different values")
    return values[0]


def once(values: list[Any]) -> Any:
    """A field of which a repetition could as well be its next piece, so that it may come only once."""
    if len(values) > 1:
        raise Lossy("a field that is not known comes in several parts")
    return values[0]


def members(rules: Mapping[str, Rule]) -> Rule:
    """An object that comes in pieces."""

    def merged(values: list[Any]) -> dict[str, Any]:
        return merge(objects(values), rules, once)

    return merged


def by_index(rules: Mapping[str, Rule]) -> Rule:
    """A list of objects that come in pieces, each piece with the `index` of its object."""

    def merged(values: list[Any]) -> list[dict[str, Any]]:
        groups = grouped(objects(extended(values)))
        if list(groups) != list(range(len(groups))):
            raise Lossy("indexes are missing")
        return [without(merge(pieces, {"index": same, **rules}, once), "index") for pieces in groups.values()]

    return merged


def grouped(entries: Iterable[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    """Return the entries of each `index`, lowest index first."""
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for entry in entries:
        index = entry.get("index")
        if type(index) is not int:
            raise Lossy("an entry has no index")
        groups.setdefault(index, []).append(entry)
    return {index: groups[index] for index in sorted(groups)}


def objects(value: Any) -> list[dict[str, Any]]:
    """Return `value` if it is a list of objects."""
    if type(value) is not list or not all(type(item) is dict for item in value):
        raise Lossy("not a list of objects")
    return value


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the document without some fields."""
    return {name: value for name, value in document.items() if name not in names}


def alike(one: Any, other: Any) -> bool:
    """Return whether two parsed values are the same, every number as it is written; the order of keys is ignored."""
    waiting: list[Sequence[Any]] = [(one, other)]
    while waiting:
        left, right = waiting.pop()
        if type(left) is not type(right):
            return False
        if type(left) is dict:
            if left.keys() != right.keys():
                return False
            waiting += [(value, right[name]) for name, value in left.items()]
        elif type(left) is list:
            if len(left) != len(right):
                return False
            waiting += zip(left, right, strict=True)
        elif (left.text != right.text) if type(left) is FloatLiteral else left != right:
            return False
    return True
