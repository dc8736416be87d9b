"""POST /v1/messages: when an answer is complete. Format: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.wire.events import documents
from proxy.wire.sse import Event

FINISHED = frozenset({"end_turn", "max_tokens", "stop_sequence", "tool_use"})
"""Stop reasons of a message that ran to its end. Others (refusal, pause_turn, null) are not complete."""


def plain_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether the message has content and a stop reason of its own."""
    return (
        answer.get("type") == "message"
        and isinstance(answer.get("content"), list)
        and _finished(answer.get("stop_reason"))
    )


def stream_is_complete(events: Sequence[Event], request: Mapping[str, Any]) -> bool:
    """Return whether it is all there from `message_start` to `message_stop`: blocks to their end, and a stop reason."""
    chunks = [chunk for chunk in documents(events) or () if chunk.get("type") != "ping"]
    if not chunks or chunks[0].get("type") != "message_start" or chunks[-1].get("type") != "message_stop":
        return False
    started, stopped = (
        [chunk.get("index") for chunk in chunks if chunk.get("type") == kind]
        for kind in ("content_block_start", "content_block_stop")
    )
    if started != stopped:
        return False
    reason = None
    for chunk in chunks:
        if chunk.get("type") == "error":
            return False
        delta = chunk.get("delta")
        if chunk.get("type") == "message_delta" and isinstance(delta, dict):
            reason = delta.get("stop_reason") or reason
    return _finished(reason)


def _finished(reason: object) -> bool:
    return isinstance(reason, str) and reason in FINISHED
