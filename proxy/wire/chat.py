"""POST /v1/chat/completions and /v1/completions: when an answer is complete.

Format: https://platform.openai.com/docs/api-reference/chat and /completions. Both end a stream with `data: [DONE]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.wire.answer import Answer
from proxy.wire.fold_choices import Form
from proxy.wire.skim import is_text
from proxy.wire.sse import DONE


def is_complete(answer: Answer, request: Mapping[str, Any], form: Form) -> bool:
    """Return whether every choice finished on the route that has this form, and `[DONE]` came last in a stream."""
    if answer.streamed and answer.data[-1:] != [DONE]:
        return False
    told = answer.told(form)
    whole = told.documents > 0 and told.complete(request)
    return whole and (is_text(answer.body) or (answer.streamed and all(map(is_text, answer.data))))
