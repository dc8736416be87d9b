"""How the next token is drawn: temperature, top_p, top_k and seed, shown by what they do to the text."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from proxy.probing.answers import Answer, Ask, quoted, said
from proxy.probing.check import SAMPLING, Check, Decided, Finding, Steps, lacking, plain
from proxy.probing.subject import TOKENS, Subject
from proxy.wire.profile import Verdict

T = TypeVar("T")

_SMALL = 1e-5
"""A top_p that leaves the likeliest token only; harnesses send it in place of temperature 0."""
_DRAWS = 3
_LONGER = 64
"""Tokens, where the beginning of all answers is the same."""


def text(ask: Ask) -> Generator[Ask, Answer, str]:
    """Return what the first choice says.

    Raises:
        Decided: as `plain`; or it says nothing (unknown).
    """
    answer = yield from plain(ask)
    told = said(answer.choices[0]) if answer.choices else ""
    if not told:
        raise Decided(Verdict.UNKNOWN, "the answer has no text to compare")
    return told


def _draws(subject: Subject) -> Generator[Ask, Answer, tuple[int, list[str]]]:
    """Return how many tokens it takes until answers at temperature 1 differ, and some of that length.

    Models that reason begin every answer alike. Where longer ones do not differ either, it is the usual number.
    """
    drawn: list[str] = []
    for tokens in (TOKENS, _LONGER):
        drawn = []
        while len(drawn) < _DRAWS:
            drawn.append((yield from text(subject.ask(tokens=tokens, take=len(drawn), **subject.at(1)))))
        if len(set(drawn)) > 1:
            return tokens, drawn
    return TOKENS, drawn


def temperature(subject: Subject) -> Steps:
    """Two answers at 0 are equal, and some at 1 are not."""
    first = yield from text(subject.ask(temperature=0))
    second = yield from text(subject.ask(temperature=0, take=1))
    if first != second:
        return Finding(Verdict.IGNORED, f"two answers at 0 differ: {quoted(first)}, {quoted(second)}")
    tokens, drawn = yield from _draws(subject)
    if len(set(drawn)) == 1:
        return Finding(Verdict.IGNORED, f"{_DRAWS} answers at 1 are equal: {quoted(drawn[0])}")
    greedy = first if tokens == TOKENS else (yield from text(subject.ask(tokens=tokens, temperature=0)))
    other = next(draw for draw in drawn if draw != greedy)
    return Finding(Verdict.SUPPORTED, f"at 0 twice {quoted(first)}, at 1 {quoted(other)}")


def _greedy(subject: Subject, name: str, value: float) -> Steps:
    """Two answers at temperature 1 are equal once only the likeliest token is left."""
    tokens, drawn = yield from _needing_temperature(_draws(subject))
    narrow: dict[str, Any] = {name: value, **subject.at(1)}
    first = yield from text(subject.ask(tokens=tokens, **narrow))
    _must_vary(name, drawn)
    second = yield from text(subject.ask(tokens=tokens, take=1, **narrow))
    if first != second:
        return Finding(Verdict.IGNORED, f"two answers at {name} {value:g} differ: {quoted(first)}, {quoted(second)}")
    return Finding(Verdict.SUPPORTED, f"at {value:g} twice {quoted(first)}")


def top_p(subject: Subject) -> Steps:
    """A top_p near 0 is greedy."""
    return _greedy(subject, "top_p", _SMALL)


def top_k(subject: Subject) -> Steps:
    """A top_k of 1 is greedy."""
    return _greedy(subject, "top_k", 1)


def seed(subject: Subject) -> Steps:
    """The same seed gives the same text at temperature 1, another seed another one."""
    tokens, drawn = yield from _needing_temperature(_draws(subject))
    first = yield from text(subject.ask(tokens=tokens, seed=1, **subject.at(1)))
    _must_vary("seed", drawn)
    again = yield from text(subject.ask(tokens=tokens, seed=1, take=1, **subject.at(1)))
    if first != again:
        return Finding(Verdict.IGNORED, f"seed 1 twice: {quoted(first)}, {quoted(again)}")
    for number in (2, 3):
        other = yield from text(subject.ask(tokens=tokens, seed=number, **subject.at(1)))
        if other != first:
            return Finding(Verdict.SUPPORTED, f"seed 1 twice {quoted(first)}, seed {number} {quoted(other)}")
    return Finding(Verdict.WRONG, f"seeds 1, 2 and 3 all give {quoted(first)}, and answers without one differ")


def _must_vary(name: str, drawn: list[str]) -> None:
    """Raise where answers never differ: then nothing can be seen of a parameter but that it is not rejected."""
    if len(set(drawn)) == 1:
        raise Decided(Verdict.UNKNOWN, f"answers at temperature 1 never differ, so {name} shows nothing")


def _needing_temperature(steps: Generator[Ask, Answer, T]) -> Generator[Ask, Answer, T]:
    """Return what these steps do; a refusal of theirs says nothing about another parameter."""
    try:
        return (yield from steps)
    except Decided as early:
        raise Decided(Verdict.UNKNOWN, f"without it: {early.finding.evidence}") from None


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route."""
    drops = "normalize drops it"
    return (
        Check(
            route,
            "temperature",
            "0 gives one text, 1 several",
            temperature,
            (SAMPLING,),
            lacking("check the server's generation config"),
        ),
        Check(route, "top_p", "near 0 it gives one text at temperature 1", top_p, (), lacking(drops)),
        Check(route, "top_k", "1 gives one text at temperature 1", top_k, (), lacking(drops)),
        Check(
            route,
            "seed",
            "one seed gives one text, another seed another",
            seed,
            (),
            lacking("name a run: its samples are kept and replayed"),
        ),
    )
