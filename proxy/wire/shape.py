"""In which shape a client asks for its answer. Stored answers are served in the shape they came in, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.core.document import encode

PLAIN = "plain"


def shape_of(document: Mapping[str, Any]) -> str:
    """Return `plain` or `sse`, with the stream options behind it: they decide what a stream holds (usage, for one).

    What only some servers take for true or false (`"stream": 1`) is a shape of its own.
    """
    stream = document.get("stream")
    if stream is None or type(stream) is bool:
        shape = "sse" if stream else PLAIN
    else:
        shape = "stream=" + encode(stream).decode()
    options = document.get("stream_options")
    if isinstance(options, dict):
        options = {name: options[name] for name in sorted(options)}
    return shape + encode(options).decode() if options else shape
