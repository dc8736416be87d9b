"""What chat and text completions have in common: choices that each have to finish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.wire.fold_choices import Form

FINISHED = frozenset({"stop", "length", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence"})
"""Finish reasons of a choice that ran to its end. Others (content_filter, abort, error, null) are not complete."""


_OPEN = FINISHED | {None}
"""How a choice that goes on may stand: a chunk for it may follow its end."""


def prompts(request: Mapping[str, Any]) -> int:
    """Return how many prompts the request asks at once: more than one only for a batch on /v1/completions."""
    prompt = request.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return len(prompt)
    return 1  # a list of token ids is one prompt


def finished(reasons: Mapping[int, Any], request: Mapping[str, Any]) -> bool:
    """Return whether every choice that was asked for came and finished: `n` for each prompt."""
    n = request.get("n")
    expected = prompts(request) * (n if type(n) is int else 1)
    return len(reasons) == expected and all(reason in FINISHED for reason in reasons.values())


def plain(answer: Mapping[str, Any], request: Mapping[str, Any], form: Form) -> bool:
    """Return whether a plain answer is complete: each choice finished, with all of its message or text."""
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return False
    reasons = {}
    for position, choice in enumerate(choices):
        index = _index(choice, position)
        if index is None or not _has(choice, form.whole, form) or _filtered(choice.get("content_filter_results")):
            return False
        reasons[index] = _reason(choice)
    return len(reasons) == len(choices) and finished(reasons, request)


def streamed(chunks: Iterable[Mapping[str, Any]], request: Mapping[str, Any], form: Form) -> bool:
    """Return whether the chunks of a stream finish every choice they begin, and each has a piece of message or text."""
    reasons: dict[int, Any] = {}
    said: set[int] = set()
    piece, kind = form.piece, type(form.nothing)
    for chunk in chunks:  # written out, as there may be thousands
        choices = chunk.get("choices")
        if chunk.get("error") is not None or chunk.get("object") == "error":
            return False
        if type(choices) is not list:
            continue
        for choice in choices:
            index = choice.get("index", 0) if type(choice) is dict else None
            if type(index) is not int:
                return False
            reason, before = choice.get("finish_reason"), reasons.get(index)
            filtered = choice.get("content_filter_results")
            if before not in _OPEN or (filtered is not None and _filtered(filtered)):
                return False
            if type(choice.get(piece)) is kind:
                said.add(index)
            reasons[index] = reason if reason and type(reason) is str else before
    return said == reasons.keys() and finished(reasons, request)


def _index(choice: Any, default: int) -> int | None:
    """Return the place of a choice, `default` where it names none, None where it is not a choice."""
    index = choice.get("index", default) if isinstance(choice, dict) else None
    return index if type(index) is int else None


def _has(choice: Mapping[str, Any], name: str, form: Form) -> bool:
    """Return whether the choice has its message, delta or text: an object for a chat, a string for a completion."""
    return type(choice.get(name)) is type(form.nothing)


def _filtered(results: Any) -> bool:
    """Return whether Azure's filter took something out of the choice, as `filtered: true` anywhere in its results says.

    Format: https://learn.microsoft.com/en-us/azure/ai-foundry/openai/concepts/content-filter.
    """
    waiting = [results]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
            if item.get("filtered") is True:
                return True
        elif isinstance(item, list):
            waiting += item
    return False


def _reason(choice: Mapping[str, Any]) -> str | None:
    reason = choice.get("finish_reason")
    return reason if isinstance(reason, str) else None
