"""Several choices: `n`, and whether usage counts them all."""

from __future__ import annotations

from proxy.probing.answers import number, short
from proxy.probing.check import Check, Decided, Finding, Steps, lacking, plain, streamed
from proxy.probing.subject import Subject
from proxy.wire.profile import Verdict

_TOKENS = 5


def n(subject: Subject) -> Steps:
    """Two choices come."""
    answer = yield from plain(subject.ask(n=2, tokens=_TOKENS, **subject.at(1)))
    count = len(answer.choices)
    return Finding(Verdict.SUPPORTED if count == 2 else Verdict.IGNORED, f"2 asked, {count} came")


def n_usage(subject: Subject) -> Steps:
    """The tokens of both choices are counted."""
    answer = yield from plain(subject.ask(n=2, tokens=_TOKENS, **subject.at(1)))
    return _counted([choice.get("finish_reason") for choice in answer.choices], answer.usage("completion_tokens"))


def stream_n_usage(subject: Subject) -> Steps:
    """The tokens of both choices of a stream are counted."""
    usage = {"include_usage": True}
    ask = subject.ask(n=2, tokens=_TOKENS, stream=True, stream_options=usage, **subject.at(1))
    stream = yield from streamed(ask)
    ends = {choice.get("index"): reason for choice in stream.choices if (reason := choice.get("finish_reason"))}
    last = stream.usages[-1] if stream.usages else {}
    return _counted(list(ends.values()), number(last.get("usage"), "completion_tokens"))


def _counted(reasons: list[object], count: int | None) -> Finding:
    if len(reasons) != 2:
        raise Decided(Verdict.UNKNOWN, "two choices were asked for, and one came")
    if reasons != ["length", "length"]:
        raise Decided(Verdict.UNKNOWN, f"the choices ended by themselves: {short(reasons)}")
    told = f"two choices of {_TOKENS} tokens each, completion_tokens {count}"
    if count is None:
        return Finding(Verdict.IGNORED, told)
    return Finding(Verdict.SUPPORTED if count >= 2 * _TOKENS else Verdict.WRONG, told)


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route."""
    uncounted = "do not trust token counts where n > 1"
    return (
        Check(
            route,
            "n",
            "as many choices come as were asked for",
            n,
            (),
            lacking("normalize fans out: one request a choice"),
        ),
        Check(route, "n_usage", "usage counts all choices", n_usage, (), lacking(uncounted)),
        Check(route, "stream_n_usage", "usage of a stream counts all choices", stream_n_usage, (), lacking(uncounted)),
    )
