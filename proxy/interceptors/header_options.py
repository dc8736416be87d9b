"""Headers as options: which names and values can be sent."""

from __future__ import annotations

import re

_FIXED = frozenset({"connection", "content-length", "host", "transfer-encoding"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_header_name(name: str) -> None:
    """Raise ValueError for what is no header name, or one that the connection sets."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not a header name")
    if name.lower() in _FIXED:
        raise ValueError(f"'{name}' is set by the connection and cannot be changed here")


def check_header_value(name: str, value: str) -> None:
    """Raise ValueError for a value that HTTP cannot carry."""
    if not value.isprintable():
        raise ValueError(f"header '{name}' has a value that HTTP cannot carry")
