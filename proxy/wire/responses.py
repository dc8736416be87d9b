"""POST /v1/responses: when an answer is complete. Format: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.wire.events import documents
from proxy.wire.sse import DONE, Event

_TERMINAL = ("response.completed", "response.incomplete")
_FAILED = ("error", "response.failed")


def plain_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether the response completed, or stopped only for its token limit, and has output."""
    output = answer.get("output")
    if answer.get("error") is not None or not isinstance(output, list) or not output:
        return False
    status = answer.get("status")
    if status == "incomplete":
        details = answer.get("incomplete_details")
        return isinstance(details, dict) and details.get("reason") == "max_output_tokens"
    return status == "completed"


def stream_is_complete(events: Sequence[Event], request: Mapping[str, Any]) -> bool:
    """Return whether the last event carries a complete response; a `[DONE]` after it is allowed."""
    if events and events[-1].data == DONE:
        events = events[:-1]
    chunks = documents(events)
    if not chunks or any(chunk.get("type") in _FAILED for chunk in chunks):
        return False
    last = chunks[-1]
    response = last.get("response")
    return last.get("type") in _TERMINAL and isinstance(response, dict) and plain_is_complete(response, request)
