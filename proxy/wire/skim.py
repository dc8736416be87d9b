"""Answers of choices read without what nobody looks at: text and log probabilities become no objects at all.

What is passed over is checked to be JSON, except for its characters (`is_text`) and for numbers that are too large.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

# Nothing here can be part of a cycle, so the garbage collector need not know of it.


class Said(msgspec.Struct, gc=False):
    """The message of a choice, or a piece of it, without its text."""

    tool_calls: Any = None
    function_call: Any = None


class Choice(msgspec.Struct, gc=False):
    """One choice of a document; what it does not name is None."""

    index: Any = msgspec.UNSET
    message: Said | None = None
    delta: Said | None = None
    text: Any = None
    finish_reason: Any = None
    content_filter_results: Any = None


class Document(msgspec.Struct, gc=False):
    """A plain answer, or a chunk of a streamed one."""

    choices: list[Choice] | None = None
    usage: Any = None
    model: Any = None
    error: Any = None
    object: Any = None


_decode = msgspec.json.Decoder(Document).decode


def document(data: bytes) -> Document | None:
    """Return the document in `data`, None where it is no JSON object."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _odd(data)


def is_text(body: bytes) -> bool:
    """Return whether the bytes are UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _odd(data: bytes) -> Document | None:
    """Return a document in which something is of another type than the formats have it: that is as if it were not."""
    try:
        read = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(read) is not dict:
        return None
    listed = read.get("choices")
    choices = [_choice(item) for item in listed] if type(listed) is list else None
    return Document(choices, *(read.get(name) for name in ("usage", "model", "error", "object")))


def _choice(item: Any) -> Choice:
    if type(item) is not dict:
        return Choice(index=None)
    said = [Said(it.get("tool_calls"), it.get("function_call")) if type(it) is dict else None for it in _saids(item)]
    others = (item.get(name) for name in ("text", "finish_reason", "content_filter_results"))
    return Choice(item.get("index", msgspec.UNSET), *said, *others)


def _saids(item: dict[str, Any]) -> tuple[Any, Any]:
    return item.get("message"), item.get("delta")
