"""Dotted paths into a request body: `chat_template_kwargs.enable_thinking`, `messages[].reasoning_content`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_EACH = "[]"


def check_path(path: str) -> str:
    """Return `path` if it is one.

    Raises:
        ValueError: a part of it is empty, or it ends in `[]`.
    """
    parts = path.split(".")
    if any(not part.removesuffix(_EACH) for part in parts) or path.endswith(_EACH):
        raise ValueError(f"'{path}' is not a path: write names joined by dots, with [] behind a name for each element")
    return path


def places(document: dict[str, Any], path: str) -> list[tuple[dict[str, Any], str]]:
    """Return the object and the name in it for every place where `path` exists."""
    *parents, leaf = path.split(".")
    holders: list[Any] = [document]
    for part in parents:
        holders = list(_below(holders, part))
    return [(holder, leaf) for holder in holders if isinstance(holder, dict) and leaf in holder]


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set `path` to `value`; objects on the way are made where they are missing, elements of lists are not.

    Raises:
        ValueError: something that is not an object is in the way.
    """
    *parents, leaf = path.split(".")
    holders: list[Any] = [document]
    for part in parents:
        for holder in _objects(holders, path):
            if not part.endswith(_EACH) and holder.get(part) is None:
                holder[part] = {}
        holders = list(_below(holders, part))
    for holder in _objects(holders, path):
        holder[leaf] = value


def _objects(holders: list[Any], path: str) -> Iterator[dict[str, Any]]:
    for holder in holders:
        if not isinstance(holder, dict):
            raise ValueError(f"'{path}' cannot be set: there is {holder!r} where an object should be")
        yield holder


def _below(holders: list[Any], part: str) -> Iterator[Any]:
    name = part.removesuffix(_EACH)
    for holder in holders:
        child = holder.get(name) if isinstance(holder, dict) else None
        if part.endswith(_EACH):
            yield from child if isinstance(child, list) else ()
        elif child is not None:
            yield child
