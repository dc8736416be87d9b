"""In which shape a client asks for its answer, and which stored shapes can serve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy.core.document import encode, parse
from proxy.wire import fold, routes

PLAIN = "plain"
STREAM = "sse"
_USAGE = "include_usage"


def shape_of(document: Mapping[str, Any]) -> str:
    """Return `plain` or `sse`, with the stream options behind it: they decide what a stream holds (usage, for one).

    What only some servers take for true or false (`"stream": 1`) is a shape of its own.
    """
    stream = document.get("stream")
    if stream is None or type(stream) is bool:
        shape = STREAM if stream else PLAIN
    else:
        shape = "stream=" + encode(stream).decode()
    options = document.get("stream_options")
    if isinstance(options, dict):
        options = {name: options[name] for name in sorted(options)}
    return shape + encode(options).decode() if options else shape


def with_usage(shape: str) -> str:
    """Return the shape of a stream that shows usage, for one of a stream without options; any other as it is."""
    return STREAM + encode({_USAGE: True}).decode() if shape == STREAM else shape


def converted(route: str, body: bytes, *, have: str, want: str) -> bytes | None:
    """Return a stored answer in another shape, None where anything would be lost.

    Usage is shown only to who asks for it, so a stream without it can be made of one with it, and not the reverse.

    Args:
        route: one of `proxy.wire.routes`.
        body: the decoded body of a complete answer.
        have: its shape, as `shape_of` the request that it answers.
        want: the shape of the request to be answered.
    """
    try:
        source, target = _read(route, have), _read(route, want)
        if source is None or target is None or source.options != target.options:
            return None
        if source == target:
            return body
        if not target.streamed:
            return fold.folded(route, body)
        if source.streamed:
            return fold.restyled(body, usage=target.usage)
        return fold.unfolded(route, body, usage=target.usage)
    except ValueError:
        return None


class _Shape(NamedTuple):
    streamed: bool
    usage: bool
    """Whether `include_usage` is set."""
    options: bytes
    """The other stream options; only streams of the same can be made of each other."""


def _read(route: str, shape: str) -> _Shape | None:
    """Return a shape taken apart, None for one that is never converted; raises ValueError where it is none."""
    if route not in routes.GENERATION:
        return None
    if shape in {PLAIN, STREAM}:
        return _Shape(shape == STREAM, usage=False, options=b"{}")
    if not shape.startswith(STREAM + "{"):
        return None
    options = parse(shape.removeprefix(STREAM).encode()).value
    usage = options.pop(_USAGE, False) if route in fold.CHUNKED else False
    return _Shape(True, usage, encode(options)) if type(usage) is bool else None
