"""Where an answer ends: max_tokens and its other name, stop, and the context length."""

from __future__ import annotations

import re
from dataclasses import replace

from proxy.probing.answers import Answer, Ask, quoted, said
from proxy.probing.check import GENERATION, Check, Decided, Finding, Steps, answered, lacking, plain, refusal
from proxy.probing.checks.sampling import text
from proxy.probing.subject import MAX_COMPLETION_TOKENS, MAX_TOKENS, Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_FEW = 5
_LONG = 24
_TOO_MANY = 10_000_000
"""Tokens; no model has so long a context."""
_LONGEST_PROMPT = 100_000
"""Tokens of a prompt that is sent to find out what happens to one that is too long."""
_CONTEXT = re.compile(
    r"(?:context (?:length|size|window)[^0-9]{0,20}|max_total_tokens[^0-9]{0,20}|(?:n_ctx|max_model_len)\W{1,4})(\d+)",
    re.IGNORECASE,
)

_FACTS = (
    "max_model_len",
    "props.n_ctx",
    "n_ctx",
    "server_info.context_length",
    "info.max_total_tokens",
)
"""Of `proxy.wire.identity`, where servers tell their context length."""


def context_of(facts: dict[str, str], told: list[Answer]) -> int | None:
    """Return the context length that information routes tell, else the one that an error names."""
    for name in _FACTS:
        for fact, value in facts.items():
            if fact == name or fact.endswith(f"].{name}"):
                return int(value) if value.isdecimal() and int(value) > 0 else None
    return next((length for answer in told if (length := context_in(answer))), None)


def context_in(answer: Answer) -> int | None:
    """Return the context length that an error names, None where it names none."""
    if answer.status not in {400, 413, 422}:
        return None
    found = _CONTEXT.search(answer.body.decode("utf-8", "replace"))
    return int(found[1]) if found and 0 < int(found[1]) < _TOO_MANY else None


def _limited(subject: Subject, name: str) -> Steps:
    answer = yield from plain(subject.ask(tokens=None, **{name: _FEW}))
    choice = answer.choices[0] if answer.choices else {}
    count, reason = answer.usage("completion_tokens"), choice.get("finish_reason")
    told = f"{_FEW} asked, {'?' if count is None else count} generated, finish_reason {reason}"
    if count is not None and count > _FEW:
        return Finding(Verdict.IGNORED, told)
    if reason == "length":
        return Finding(Verdict.SUPPORTED, told)
    if count == _FEW:
        return Finding(Verdict.WRONG, f"{told}: nobody sees that the answer was cut")
    return Finding(Verdict.UNKNOWN, told)


def max_tokens(subject: Subject) -> Steps:
    """The answer has no more tokens than were asked for, and says that it was cut."""
    return _limited(subject, MAX_TOKENS)


def max_completion_tokens(subject: Subject) -> Steps:
    """The newer name of `max_tokens`."""
    return _limited(subject, MAX_COMPLETION_TOKENS)


def max_tokens_zero(subject: Subject) -> Steps:
    """Nothing is generated."""
    answer = yield from plain(subject.ask(tokens=0))
    told = said(answer.choices[0]) if answer.choices else ""
    if told or answer.usage("completion_tokens"):
        return Finding(Verdict.WRONG, f"0 asked, {answer.usage('completion_tokens')} generated: {quoted(told)}")
    return Finding(Verdict.SUPPORTED, "nothing was generated")


def stop(subject: Subject) -> Steps:
    """The answer ends before a word of the answer without `stop`."""
    whole = yield from text(subject.ask(tokens=_LONG, **subject.at(0)))
    mark = _mark(whole)
    answer = yield from plain(subject.ask(tokens=_LONG, stop=[mark], **subject.at(0)))
    told = said(answer.choices[0]) if answer.choices else ""
    before = whole[: whole.index(mark)]
    if mark in told:
        verdict = Verdict.IGNORED if told.startswith(whole) else Verdict.WRONG
        return Finding(verdict, f"stop {quoted(mark)} is in the answer: {quoted(told[-40:])}")
    if told.rstrip() == before.rstrip():
        return Finding(Verdict.SUPPORTED, f"stopped before {quoted(mark)}")
    return Finding(Verdict.UNKNOWN, f"another answer than without stop: {quoted(told)}")


def _mark(whole: str) -> str:
    """Return a word with its blank that is in the text once it is some words long."""
    words: list[str] = re.findall(r" \w+", whole)
    for word in words[2:]:
        if whole.index(word) == whole.rindex(word) > 0 and not whole.endswith(word):
            return word
    raise Decided(Verdict.UNKNOWN, f"no word to stop at in {quoted(whole)}")


def beyond_context(subject: Subject) -> Steps:
    """A `max_tokens` larger than any context; the answer is left as soon as it begins."""
    answer = yield from answered(_far_beyond(subject))
    if answer.status != 200 or b'"error"' in answer.body[:200]:
        return Finding(Verdict.REJECTED, refusal(answer))
    return Finding(Verdict.SUPPORTED, f"{_TOO_MANY:,} are accepted")


def _far_beyond(subject: Subject) -> Ask:
    return replace(subject.ask(tokens=_TOO_MANY, stream=True), first_chunk=True)


def too_long_prompt(subject: Subject) -> Steps:
    """A prompt longer than the context is an error."""
    length = subject.context_length
    if length is None:
        length = context_in((yield _far_beyond(subject)))
    if length is None:
        raise Decided(Verdict.UNKNOWN, "the server does not tell its context length")
    if length > _LONGEST_PROMPT:
        raise Decided(Verdict.UNKNOWN, f"not tried: the context has {length:,} tokens")
    answer = yield from answered(subject.ask(" a" * (length + length // 4 + 64), tokens=1))
    if answer.status == 200:
        count = answer.usage("prompt_tokens")
        told = f"accepted, with prompt_tokens {count} of a context of {length:,}"
        if count is not None and count > length:
            return Finding(Verdict.UNKNOWN, f"{told}: it is longer than the server tells")
        return Finding(Verdict.WRONG, f"{told}: it was cut")
    if answer.status >= 500:
        return Finding(Verdict.WRONG, refusal(answer))
    return Finding(Verdict.SUPPORTED, refusal(answer))


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route."""
    newer = Check(
        route,
        MAX_COMPLETION_TOKENS,
        "the newer name of max_tokens has the same effect",
        max_completion_tokens,
        (),
        lacking("normalize renames it to max_tokens"),
    )
    return (
        Check(
            route,
            MAX_TOKENS,
            "the answer ends there, with finish_reason length",
            max_tokens,
            (GENERATION,),
            {
                **lacking("normalize renames it to max_completion_tokens"),
                Verdict.WRONG: "cut answers look whole; count their tokens",
            },
        ),
        *((newer,) if route == routes.CHAT else ()),
        Check(
            route,
            "max_tokens_zero",
            "0 generates nothing",
            max_tokens_zero,
            (),
            lacking("ask for 1 token, and do not score it"),
        ),
        Check(
            route,
            "max_tokens_beyond_context",
            "a max_tokens that does not fit the context is accepted",
            beyond_context,
            (),
            {Verdict.REJECTED: "normalize clamps it to the context length"},
            frozenset({Verdict.SUPPORTED, Verdict.REJECTED}),
        ),
        Check(
            route,
            "too_long_prompt",
            "a prompt longer than the context is an error",
            too_long_prompt,
            (),
            {Verdict.WRONG: "keep prompts short: what is cut shows nowhere"},
        ),
        Check(
            route,
            "stop",
            "the answer ends before the stop string",
            stop,
            () if route == routes.CHAT else (GENERATION,),
            {
                **lacking("cut the answers before scoring"),
                Verdict.REJECTED: "normalize drops it; cut the answers before scoring",
            },
        ),
    )
