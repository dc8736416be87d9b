"""POST /v1/chat/completions and /v1/completions: when an answer is complete.

Format: https://platform.openai.com/docs/api-reference/chat and /completions. Both end a stream with `data: [DONE]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.wire import choices
from proxy.wire.answer import Answer
from proxy.wire.fold_choices import Form
from proxy.wire.sse import DONE


def plain_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any], form: Form) -> bool:
    """Return whether every choice of a plain answer of the route that has this form finished."""
    return choices.plain(answer, request, form)


def stream_is_complete(answer: Answer, request: Mapping[str, Any], form: Form) -> bool:
    """Return whether every choice finished, every chunk is an object, and `[DONE]` came last."""
    events = answer.stream.events
    if not events or events[-1].data != DONE:
        return False
    chunks = answer.objects
    return len(chunks) == len(events) - 1 and choices.streamed(chunks, request, form)
