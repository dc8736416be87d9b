"""What differs between two versions of a JSON document, exactly enough to turn one into the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from proxy.core.document import encode

Path = tuple[str | int, ...]
"""Names of members and indexes of elements, from the top."""

_INDEX = re.compile(r"\[\d+\]")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_$-]+")


class _Absent:
    """Marks the side on which there is nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


class Difference(NamedTuple):
    """One place where the versions differ. An element that came or went has the index it got or had."""

    path: Path
    before: Any
    """`ABSENT` where it was added."""
    after: Any
    """`ABSENT` where it was removed."""
    order: bool = False
    """Only the order of an object's members changed: both sides are lists of names."""

    @property
    def field(self) -> str:
        """The path as text, `tools[0].function.name`."""
        return field_name(self.path) + (" (order)" if self.order else "")


def field_name(path: Path) -> str:
    """Return a path as text; a name that is not plain stands in brackets, as a JSON string in ASCII."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part)}]"
    return text


def without_indexes(field: str) -> str:
    """Return a field's name for all elements of its lists: `messages[].content`."""
    return _INDEX.sub("[]", field)


def snapshot(value: Any) -> Any:
    """Return a copy that later edits of `value` do not reach. Objects and arrays are copied, what is in them is not."""
    if isinstance(value, dict):
        return {name: snapshot(item) for name, item in value.items()}
    if isinstance(value, list):
        return [snapshot(item) for item in value]
    return value


def differences(before: Any, after: Any) -> list[Difference]:
    """Return what turns one document into the other, in the order in which `apply` takes it.

    Numbers count as they are written. The order of members counts, except at the top level, where it means nothing.
    """
    found: list[Difference] = []
    _compare((), before, after, found)
    return found


def apply(document: dict[str, Any], changes: Iterable[Difference]) -> None:
    """Make the changes to the document."""
    for change in changes:
        *parents, last = change.path
        holder: Any = document
        for part in parents:
            holder = holder[part]
        if change.order:
            _reorder(holder[last], change)
        elif change.after is ABSENT:
            del holder[last]
        elif change.before is ABSENT and isinstance(last, int):
            holder.insert(last, snapshot(change.after))
        else:
            holder[last] = snapshot(change.after)


def _reorder(holder: dict[str, Any], change: Difference) -> None:
    members = {name: holder[name] for name in change.after}
    holder.clear()
    holder.update(members)


def _compare(path: Path, before: Any, after: Any, found: list[Difference]) -> None:
    if before is after and not isinstance(before, dict | list):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        _compare_objects(path, before, after, found)
    elif isinstance(before, list) and isinstance(after, list):
        _compare_lists(path, before, after, found)
    elif not _same_leaf(before, after):
        found.append(Difference(path, before, after))


def _compare_objects(path: Path, before: dict[str, Any], after: dict[str, Any], found: list[Difference]) -> None:
    for name, value in before.items():
        if name in after:
            _compare((*path, name), value, after[name], found)
        else:
            found.append(Difference((*path, name), value, ABSENT))
    added = [name for name in after if name not in before]
    found += [Difference((*path, name), ABSENT, snapshot(after[name])) for name in added]
    if path:
        order = [name for name in before if name in after] + added
        if order != list(after):
            found.append(Difference(path, order, list(after), order=True))


def _compare_lists(path: Path, before: list[Any], after: list[Any], found: list[Difference]) -> None:
    """Compare what lies between the elements that both begin with and those that both end with."""
    shorter = min(len(before), len(after))
    if len(before) == len(after):
        head, tail = 0, 0
    else:
        head = _alike(zip(before, after, strict=False))
        tail = min(_alike(zip(reversed(before), reversed(after), strict=False)), shorter - head)
    for index in range(head, shorter - tail):
        _compare((*path, index), before[index], after[index], found)
    gone = range(len(before) - tail - 1, shorter - tail - 1, -1)  # from the last: no index moves
    found += [Difference((*path, index), before[index], ABSENT) for index in gone]
    come = range(shorter - tail, len(after) - tail)
    found += [Difference((*path, index), ABSENT, snapshot(after[index])) for index in come]


def _alike(pairs: Iterable[tuple[Any, Any]]) -> int:
    """Return how many pairs at the front are the same."""
    count = 0
    for one, other in pairs:
        found: list[Difference] = []
        _compare((0,), one, other, found)
        if found:
            break
        count += 1
    return count


def _same_leaf(one: Any, other: Any) -> bool:
    if type(one) is str and type(other) is str:
        return one == other
    return isinstance(one, dict | list) == isinstance(other, dict | list) and encode(one) == encode(other)
