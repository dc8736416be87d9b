"""A stream of events cut into blocks: one event, or comments, with its lines as they came."""

from __future__ import annotations

import re

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LOOK_BACK = 3
"""Bytes of an end that may have been there before the chunk which completes it."""


def whole_blocks(pending: bytes, chunk: bytes) -> tuple[list[bytes], bytes]:
    """Return the blocks that `chunk` completes, and what is left: what is `pending` when the next one comes."""
    look_from = max(0, len(pending) - _LOOK_BACK)
    text = pending + chunk
    done, blocks = 0, []
    while (end := _END.search(text, look_from)) is not None:
        blocks.append(text[done : end.end()])
        look_from = done = end.end()
    return blocks, text[done:]
