"""Where the model's reasoning is, if it reasons."""

from __future__ import annotations

from proxy.probing.answers import content, quoted, reasoning_field, said
from proxy.probing.check import Check, Finding, Steps, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_MARKS = ("<think>", "<|channel|>analysis", "<reasoning>")


def reasoning(subject: Subject) -> Steps:
    """It has a field of its own."""
    answer = yield from plain(subject.ask())
    name = reasoning_field(answer)
    if name is not None:
        return Finding(Verdict.SUPPORTED, f"in {name}: {quoted(said(answer.choices[0]))}")
    text = content(answer)
    if any(mark in text for mark in _MARKS):
        return Finding(Verdict.WRONG, f"in the content: {quoted(text)}")
    return Finding(Verdict.UNKNOWN, "no reasoning seen")


def checks(route: str) -> tuple[Check, ...]:
    """Return the check of chat; text completions have none."""
    if route != routes.CHAT:
        return ()
    return (
        Check(
            route,
            "reasoning",
            "reasoning has a field of its own",
            reasoning,
            (),
            {Verdict.WRONG: "the interceptor reasoning takes it out of the content"},
            frozenset({Verdict.SUPPORTED, Verdict.UNKNOWN}),
        ),
    )
