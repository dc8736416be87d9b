"""What an answer says of itself in numbers: tokens, how its choices ended, tool calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.core.document import MAX_INT64
from proxy.wire import routes
from proxy.wire.answer import Answer
from proxy.wire.choices import Told
from proxy.wire.fold import CHUNKED


@dataclass(slots=True)
class Counted:
    """None where the answer does not tell."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reasons: list[str] = field(default_factory=list)
    """Of each choice that told one."""
    tool_calls: int = 0
    function_calls: int = 0
    """In the older form, one a message."""
    model: str | None = None


def counted(route: str, body: bytes, *, streamed: bool) -> Counted | None:
    """Return the numbers of an answer without content encoding, None where it is no JSON object, or an error."""
    return numbers(route, Answer(body, streamed=streamed))


def numbers(route: str, answer: Answer) -> Counted | None:
    """Return the same of an answer that others look into, too."""
    found = _of_choices(answer.told(CHUNKED[route])) if route in CHUNKED else _of_documents(route, answer.objects)
    if found is None or found.total_tokens is not None:
        return found
    if found.prompt_tokens is not None and found.completion_tokens is not None:
        found.total_tokens = found.prompt_tokens + found.completion_tokens
    return found


def _of_choices(told: Told) -> Counted | None:
    if told.failed or not told.documents:
        return None
    found = Counted(finish_reasons=told.ends, tool_calls=len(told.calls), function_calls=told.function_calls)
    found.model = told.model if type(told.model) is str else None
    for usage in told.usages:
        if type(usage) is dict:
            _count_usage(found, usage)
    return found


def _of_documents(route: str, documents: list[dict[str, Any]]) -> Counted | None:
    if not documents or any(document.get("error") is not None for document in documents):
        return None
    found = Counted()
    for document in documents:
        _count_part(found, document)
        nested = document.get("response") or document.get("message")  # events of responses and messages wrap theirs
        if isinstance(nested, dict):
            _count_part(found, nested)
    if route == routes.RESPONSES:
        _count_response(found, documents)
    elif route == routes.MESSAGES:
        _count_message(found, documents)
    return found


def _count_part(found: Counted, part: Mapping[str, Any]) -> None:
    model, usage = part.get("model"), part.get("usage")
    if type(model) is str:
        found.model = model
    if type(usage) is dict:
        _count_usage(found, usage)


def _count_usage(found: Counted, usage: dict[str, Any]) -> None:
    """Take over what a usage object tells; a later one of a stream knows more."""
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    told = {
        "prompt_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "completion_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
        "total_tokens": usage.get("total_tokens"),
        "reasoning_tokens": details.get("reasoning_tokens") if isinstance(details, dict) else None,
    }
    for name, value in told.items():
        if type(value) is int and value <= MAX_INT64:
            setattr(found, name, value)


def _count_response(found: Counted, documents: list[dict[str, Any]]) -> None:
    last = documents[-1]
    whole = last["response"] if isinstance(last.get("response"), dict) else last
    if isinstance(whole.get("status"), str):
        found.finish_reasons.append(whole["status"])
    found.tool_calls += sum(item.get("type") == "function_call" for item in _objects(whole.get("output")))


def _count_message(found: Counted, documents: list[dict[str, Any]]) -> None:
    for document in documents:
        delta = document.get("delta")
        for part in (document, delta if isinstance(delta, dict) else {}):
            if isinstance(part.get("stop_reason"), str):
                found.finish_reasons.append(part["stop_reason"])
        blocks = [*_objects(document.get("content")), *_objects([document.get("content_block")])]
        found.tool_calls += sum(block.get("type") == "tool_use" for block in blocks)


def _objects(items: Any) -> Iterable[dict[str, Any]]:
    return (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()
