"""In which shape a client asks for its answer. Stored answers are served in the shape they came in, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.core.document import encode

PLAIN = "plain"


def shape_of(document: Mapping[str, Any]) -> str:
    """Return `plain`, or `sse` with the stream options that decide what a stream holds (a usage chunk, for one)."""
    if document.get("stream") is not True:
        return PLAIN
    options = document.get("stream_options")
    if not isinstance(options, dict) or not options:
        return "sse"
    return "sse" + encode({name: options[name] for name in sorted(options)}).decode()
