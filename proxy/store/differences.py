"""What differs between two requests, field by field."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from proxy.core.document import encode, parse

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_$-]+")
_LONGEST = 100
"""Characters of a value that are shown."""
_BEFORE = 20
"""Characters shown before the first that differs."""


class Difference(NamedTuple):
    """One field in which a request and a stored one differ."""

    field: str
    """Dotted path, `tools[0].function.name`; `… (order)` where only the order of its members differs."""
    asked: str | None
    """JSON text, None where the field is absent."""
    stored: str | None

    def shown(self) -> Difference:
        """Return it with long values cut down to the part that differs."""
        same = 0
        if self.asked is not None and self.stored is not None:
            same = _same(self.asked, self.stored)
        return Difference(self.field, _cut(self.asked, same), _cut(self.stored, same))

    def __str__(self) -> str:
        return f"{self.field} (asked {self.asked or 'absent'}, stored {self.stored or 'absent'})"


def _same(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (left, right) in pairs if left != right), min(len(one), len(other)))


def _cut(text: str | None, same: int) -> str | None:
    if text is None or len(text) <= _LONGEST:
        return text
    start = max(0, same - _BEFORE) if same > _LONGEST // 2 else 0
    end = start + _LONGEST
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def body_differences(asked: bytes, stored: bytes) -> list[Difference]:
    """Return where two bodies in canonical form differ; numbers count as they are written, as in the key.

    Raises:
        ValueError: one of them is not JSON.
    """
    found: list[Difference] = []
    if asked != stored:
        _compare("", parse(asked).value, parse(stored).value, found)
    return found


def map_differences(asked: dict[str, str], stored: dict[str, str], prefix: str = "") -> list[Difference]:
    """Return where two maps of texts differ."""
    names = [*asked, *(name for name in stored if name not in asked)]
    return [
        Difference(prefix + name, _json(asked.get(name)), _json(stored.get(name)))
        for name in names
        if asked.get(name) != stored.get(name)
    ]


def _json(value: str | None) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _compare(path: str, asked: Any, stored: Any, found: list[Difference]) -> None:
    if type(asked) is dict and type(stored) is dict:
        _compare_objects(path, asked, stored, found)
    elif type(asked) is list and type(stored) is list:
        for index in range(max(len(asked), len(stored))):
            place = f"{path}[{index}]"
            if index >= len(stored):
                found.append(Difference(place, _text(asked[index]), None))
            elif index >= len(asked):
                found.append(Difference(place, None, _text(stored[index])))
            else:
                _compare(place, asked[index], stored[index], found)
    elif (one := _text(asked)) != (other := _text(stored)):
        found.append(Difference(path, one, other))


def _compare_objects(path: str, asked: dict[str, Any], stored: dict[str, Any], found: list[Difference]) -> None:
    for name in [*asked, *(name for name in stored if name not in asked)]:
        place = _below(path, name)
        if name not in stored:
            found.append(Difference(place, _text(asked[name]), None))
        elif name not in asked:
            found.append(Difference(place, None, _text(stored[name])))
        else:
            _compare(place, asked[name], stored[name], found)
    if asked.keys() == stored.keys() and list(asked) != list(stored):
        found.append(Difference(f"{path} (order)", _text(list(asked)), _text(list(stored))))


def _below(path: str, name: str) -> str:
    if not _PLAIN_NAME.fullmatch(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def _text(value: Any) -> str:
    return encode(value).decode()
