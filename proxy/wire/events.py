"""The JSON inside events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from proxy.wire.sse import Event


def documents(events: Iterable[Event]) -> list[dict[str, Any]] | None:
    """Return the object in each event, None where one holds anything else."""
    found = []
    for event in events:
        try:
            document = orjson.loads(event.data)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(document, dict):
            return None
        found.append(document)
    return found
