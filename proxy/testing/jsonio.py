"""JSON as a Python model server reads and writes it: fast, and as lenient as the standard library."""

import json
from typing import Any

import orjson


def loads(data: bytes) -> Any:
    """Parse JSON; NaN, duplicate keys and lone surrogates are accepted as the standard library does.

    Raises ValueError if it is not JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def dumps(value: Any) -> bytes:
    """Compact JSON; what orjson refuses (very large integers, lone surrogates) goes through the standard library."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()
