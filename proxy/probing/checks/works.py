"""Whether a generation route answers at all, with and without the key, and by which name."""

from __future__ import annotations

from dataclasses import replace

from proxy.probing.answers import quoted, said, short
from proxy.probing.check import (
    AUDIO,
    GENERATION,
    IMAGES,
    LOGLIKELIHOOD,
    SAMPLING,
    SPEED,
    STRUCTURED,
    TOOLS,
    Check,
    Decided,
    Finding,
    Steps,
    answered,
    lacking,
    plain,
    refusal,
)
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_KNOWN = frozenset(
    {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "service_tier",
        "prompt_logprobs",
        "kv_transfer_params",
        "prompt_token_ids",
    }
)
"""Members of an answer that need no word."""


def works(subject: Subject) -> Steps:
    """Ask for a few tokens; what else is in the answer is told."""
    answer = yield from plain(subject.ask())
    if not answer.choices:
        return Finding(Verdict.WRONG, f"an answer without choices: {short(answer.fields)}")
    text = said(answer.choices[0])
    if not text:
        return Finding(Verdict.WRONG, f"an answer without text: {short(answer.choices[0])}")
    more = sorted(answer.fields.keys() - _KNOWN)
    return Finding(Verdict.SUPPORTED, quoted(text) + (f"; also {', '.join(more)}" if more else ""))


def auth(subject: Subject) -> Steps:
    """Ask without the key."""
    if not subject.has_key:
        raise Decided(Verdict.UNKNOWN, "no key was given, and none was asked for")
    answer = yield from answered(replace(subject.ask(), authorized=False))
    if answer.status in {401, 403}:
        return Finding(Verdict.SUPPORTED, f"without the key {refusal(answer)}")
    if answer.status == 200:
        return Finding(Verdict.IGNORED, "answers without the key too")
    return Finding(Verdict.UNKNOWN, refusal(answer))


def model_name(subject: Subject) -> Steps:
    """Compare the model's name in the answer with the one that was asked."""
    answer = yield from plain(subject.ask())
    named = answer.fields.get("model")
    if subject.model is None:
        raise Decided(Verdict.UNKNOWN, f"none was asked for; the answer names {short(named)}")
    if named == subject.model:
        return Finding(Verdict.SUPPORTED, named)
    return Finding(Verdict.WRONG, f"asked '{subject.model}', the answer names {short(named)}")


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route."""
    of_route = (TOOLS, STRUCTURED, IMAGES, AUDIO) if route == routes.CHAT else (LOGLIKELIHOOD,)
    needed = (GENERATION, SAMPLING, SPEED, *of_route)
    return (
        Check(
            route,
            "works",
            "a few tokens are answered",
            works,
            needed,
            lacking("use tasks of another endpoint type"),
        ),
        Check(
            route,
            "auth",
            "without the key there is no answer",
            auth,
            (),
            {Verdict.IGNORED: "anybody who reaches the server may use it"},
            frozenset({Verdict.SUPPORTED, Verdict.UNKNOWN}),
        ),
        Check(
            route,
            "model_name",
            "answers name the model that was asked",
            model_name,
            (),
            {Verdict.WRONG: "compare results by the name you asked for"},
        ),
    )
