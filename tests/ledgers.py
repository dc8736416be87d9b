"""Plays a ledger, as the log shows it, on what it was kept for."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from typing import Any

from proxy.core.difference import ABSENT, Difference, Path, apply
from proxy.core.document import encode

_PART = re.compile(r'\.?([A-Za-z0-9_$-]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]')
_ORDER = " (order)"
HASHED = "by hash"


def path_of(field: str) -> Path:
    """The path of a field's name: `tools[0].function.name`, `["odd name"]`."""
    parts: list[str | int] = []
    at = 0
    while at < len(field):
        found = _PART.match(field, at)
        assert found, f"{field!r} cannot be read from {at} on"
        name, index, quoted = found.groups()
        parts.append(name if name is not None else int(index) if index is not None else json.loads(quoted))
        at = found.end()
    return tuple(parts)


def played(document: dict[str, Any], changes: list[dict[str, Any]]) -> dict[str, Any]:
    """The document after the changes to a body; what an entry says was there must be there. Headers are left out."""
    made = copy.deepcopy(document)
    for change in changes:
        field = change["field"]
        if field.startswith("header:") or field in {"(body)", "status"}:
            continue
        order = field.endswith(_ORDER)
        path = path_of(field.removesuffix(_ORDER))
        if not order:
            assert _says(change, "from", _at(made, path)), f"{change} does not say what was there"
        apply(made, [Difference(path, change.get("from", ABSENT), change.get("to", ABSENT), order=order)])
    return made


def _at(document: Any, path: Path) -> Any:
    for part in path[:-1]:
        document = document[part]
    last = path[-1]
    if isinstance(last, int):
        return document[last] if last < len(document) else ABSENT
    return document.get(last, ABSENT)


def _says(change: dict[str, Any], side: str, value: Any) -> bool:
    if f"{side}_hash" in change:
        return bool(change[f"{side}_hash"]["sha256"] == hashlib.sha256(encode(value)).hexdigest())
    if side not in change:  # added; an element of a list may push another aside
        return value is ABSENT or "to" in change
    return bool(change[side] == value)
