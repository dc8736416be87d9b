"""What chat and text completions have in common: choices that each have to finish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

FINISHED = frozenset({"stop", "length", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence"})
"""Finish reasons of a choice that ran to its end. Others (content_filter, abort, error, null) are not complete."""


def prompts(request: Mapping[str, Any]) -> int:
    """Return how many prompts the request asks at once: more than one only for a batch on /v1/completions."""
    prompt = request.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        return len(prompt)
    return 1


def finished(reasons: Mapping[int, Any], request: Mapping[str, Any]) -> bool:
    """Return whether every choice finished: one a prompt, or `n` a prompt where the server knows `n`."""
    batch = prompts(request)
    n = request.get("n")
    expected = {batch, batch * n} if type(n) is int else {batch}
    return len(reasons) in expected and all(reason in FINISHED for reason in reasons.values())


def plain(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether a plain answer is complete."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or answer.get("error") is not None:
        return False
    reasons = {}
    for position, choice in enumerate(choices):
        if not isinstance(choice, dict):
            return False
        reasons[choice.get("index", position)] = _reason(choice)
    return len(reasons) == len(choices) and finished(reasons, request)


def streamed(chunks: Iterable[Mapping[str, Any]], request: Mapping[str, Any]) -> bool:
    """Return whether the chunks of a stream finish every choice they begin."""
    reasons: dict[int, Any] = {}
    for chunk in chunks:
        if chunk.get("error") is not None:
            return False
        for choice in chunk.get("choices") or ():
            if not isinstance(choice, dict):
                return False
            index = choice.get("index", 0)
            reasons[index] = _reason(choice) or reasons.get(index)
    return finished(reasons, request)


def _reason(choice: Mapping[str, Any]) -> str | None:
    reason = choice.get("finish_reason")
    return reason if isinstance(reason, str) else None
