"""Where the model's reasoning is, if it reasons."""

from __future__ import annotations

from proxy.probing.answers import Answer, quoted
from proxy.probing.check import Check, Finding, Steps, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

FIELDS = ("reasoning_content", "reasoning")
"""Of a chat message."""
_MARKS = ("<think>", "<|channel|>analysis", "<reasoning>")


def reasoning(subject: Subject) -> Steps:
    """It has a field of its own."""
    answer = yield from plain(subject.ask())
    name = field_of(answer)
    message = answer.choices[0].get("message") if answer.choices else {}
    if name is not None and isinstance(message, dict):
        return Finding(Verdict.SUPPORTED, f"{name}: {quoted(message[name])}")
    content = message.get("content") if isinstance(message, dict) else None
    text = content if isinstance(content, str) else ""
    if any(mark in text for mark in _MARKS):
        return Finding(Verdict.WRONG, f"in the content: {quoted(text)}")
    return Finding(Verdict.UNKNOWN, "no reasoning seen")


def field_of(answer: Answer) -> str | None:
    """Return the field that holds reasoning, None where there is none."""
    for choice in answer.choices:
        message = choice.get("message")
        for name in FIELDS:
            if isinstance(message, dict) and isinstance(message.get(name), str) and message[name]:
                return name
    return None


def checks(route: str) -> tuple[Check, ...]:
    """Return the check of chat; text completions have none."""
    if route != routes.CHAT:
        return ()
    return (
        Check(
            route, "reasoning", "reasoning has a field of its own", reasoning, (),
            {Verdict.WRONG: "the interceptor reasoning takes it out of the content"},
            frozenset({Verdict.SUPPORTED, Verdict.UNKNOWN}),
        ),
    )  # fmt: skip
