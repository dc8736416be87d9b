"""What chat and text completions have in common: choices that each have to finish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from msgspec import UNSET

from proxy.wire.fold_choices import Form
from proxy.wire.skim import Document, Said

FINISHED = frozenset({"stop", "length", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence"})
"""Finish reasons of a choice that ran to its end. Others (content_filter, abort, error, null) are not complete."""


@dataclass(slots=True)
class Told:
    """What an answer says of its choices."""

    documents: int = 0
    """How many objects there were."""
    failed: bool = False
    """Whether one of them was an error."""
    sound: bool = True
    """Whether all were objects, every choice had its place, and none was filtered or went on after a bad end."""
    reasons: dict[int, str | None] = field(default_factory=dict)
    """By choice, how it ended."""
    said: set[int] = field(default_factory=set)
    """Choices with a message or text, or a piece of it."""
    ends: list[str] = field(default_factory=list)
    """Every finish reason, as it came."""
    calls: set[Any] = field(default_factory=set)
    """Tool calls, by choice and place."""
    function_calls: int = 0
    """In the older form, one a message."""
    usages: list[Any] = field(default_factory=list)
    model: Any = None

    def complete(self, request: Mapping[str, Any]) -> bool:
        """Return whether every choice that was asked for has said something, and finished."""
        whole = self.sound and not self.failed and self.said == self.reasons.keys()
        return whole and finished(self.reasons, request)


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


def told(documents: Iterable[Document | None], form: Form, *, streamed: bool) -> Told:  # noqa: C901, PLR0912 - see loop
    """Return what a plain answer, or the chunks of a stream, say of their choices.

    Args:
        documents: in their order; None for what was no object.
        form: of the route.
        streamed: whether a choice may come in pieces, each of which names it or means the first.
    """
    found = Told()
    reasons, said = found.reasons, found.said
    said_in = attrgetter(form.piece if streamed else form.whole)
    kind = Said if type(form.nothing) is dict else str
    came = 0
    for document in documents:  # written out: there may be thousands, and a call for each costs more than what it does
        if document is None:
            found.sound = False
            continue
        found.documents += 1
        if document.error is not None or document.object == "error":
            found.failed = True
        if document.usage is not None:
            found.usages.append(document.usage)
        found.model = document.model or found.model
        for choice in document.choices or ():
            index = choice.index
            if index is UNSET:
                index = 0 if streamed else came
            came += 1
            if type(index) is not int:
                found.sound = False
                continue
            reason, before = choice.finish_reason, reasons.get(index)
            if before is not None and before not in FINISHED:
                found.sound = False
            if choice.content_filter_results is not None and _filtered(choice.content_filter_results):
                found.sound = False
            if type(said_in(choice)) is kind:
                said.add(index)
            if reason is not None and type(reason) is str:
                found.ends.append(reason)
                reasons[index] = reason or before
            elif before is None:
                reasons[index] = None
            spoken = choice.message or choice.delta
            if spoken is not None and (spoken.tool_calls is not None or spoken.function_call is not None):
                _count_calls(found, index, spoken)
    if not streamed and came != len(reasons):  # two for one place
        found.sound = False
    return found


def _count_calls(found: Told, index: int, said: Said) -> None:
    calls = said.tool_calls if type(said.tool_calls) is list else ()
    for position, call in enumerate(call for call in calls if type(call) is dict):
        place = call.get("index", position)
        found.calls.add((index, place if type(place) is int else position))
    found.function_calls += type(said.function_call) is dict and "name" in said.function_call


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
