"""Streams: whether one comes, how it ends, and where it tells usage."""

from __future__ import annotations

from proxy.probing.answers import said, short
from proxy.probing.check import SPEED, Check, Finding, Steps, lacking, streamed
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TOKENS = 5


def stream(subject: Subject) -> Steps:
    """Pieces of the answer come as events."""
    found = yield from streamed(subject.ask(tokens=_TOKENS, stream=True))
    pieces = sum(1 for choice in found.choices if said(choice))
    return Finding(Verdict.SUPPORTED if pieces else Verdict.WRONG, f"{pieces} events with text")


def stream_done(subject: Subject) -> Steps:
    """The last event is `[DONE]`."""
    found = yield from streamed(subject.ask(tokens=_TOKENS, stream=True))
    if found.done:
        return Finding(Verdict.SUPPORTED, "data: [DONE]")
    return Finding(Verdict.WRONG, f"it ends with {short(found.chunks[-1:])}")


def stream_content(subject: Subject) -> Steps:
    """The content of a delta is text wherever it is there."""
    found = yield from streamed(subject.ask(tokens=_TOKENS, stream=True))
    for choice in found.choices:
        delta = choice.get("delta")
        if isinstance(delta, dict) and not isinstance(delta.get("content", ""), str):
            return Finding(Verdict.WRONG, f"delta {short(delta)}")
    return Finding(Verdict.SUPPORTED, "always text")


def stream_usage(subject: Subject) -> Steps:
    """With `include_usage` a chunk of its own, without choices, tells it."""
    ask = subject.ask(tokens=_TOKENS, stream=True, stream_options={"include_usage": True})
    found = yield from streamed(ask)
    if not found.usages:
        return Finding(Verdict.IGNORED, "no usage in any event")
    last = found.usages[-1]
    if last.get("choices"):
        return Finding(Verdict.WRONG, f"usage comes with a choice: {short(last['choices'])}")
    return Finding(Verdict.SUPPORTED, short(last["usage"]))


def stream_usage_only_if_asked(subject: Subject) -> Steps:
    """Without `include_usage` no chunk tells it."""
    found = yield from streamed(subject.ask(tokens=_TOKENS, stream=True))
    if found.usages:
        return Finding(Verdict.WRONG, f"not asked for, and there: {short(found.usages[-1]['usage'])}")
    return Finding(Verdict.SUPPORTED, "none without being asked")


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route."""
    content = Check(
        route,
        "stream_content",
        "deltas hold text, never null",
        stream_content,
        (),
        lacking("clients that join deltas must skip null"),
    )
    return (
        Check(
            route,
            "stream",
            "pieces of the answer come as events",
            stream,
            (SPEED,),
            lacking("the interceptor streaming asks for whole answers"),
        ),
        Check(
            route,
            "stream_done",
            "the stream ends with [DONE]",
            stream_done,
            (),
            lacking("normalize adds it; without it a cut stream looks whole"),
        ),
        *((content,) if route == routes.CHAT else ()),
        Check(
            route,
            "stream_usage",
            "include_usage gives a chunk with usage and no choice",
            stream_usage,
            (),
            lacking("count tokens by events, or ask without a stream"),
        ),
        Check(
            route,
            "stream_usage_only_if_asked",
            "usage comes in no other stream",
            stream_usage_only_if_asked,
            (),
            lacking("harmless to most clients"),
        ),
    )
