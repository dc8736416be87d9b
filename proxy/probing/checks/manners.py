"""What a server does with requests that are not quite right: parameters and models it does not know, and errors."""

from __future__ import annotations

from proxy.probing.answers import Answer, message, short
from proxy.probing.check import Check, Decided, Finding, Steps, answered, fetched, plain, refusal
from proxy.probing.subject import Subject
from proxy.wire.profile import Verdict

_STRANGER = "evalside-probe-no-such-model"


def unknown_parameter(subject: Subject) -> Steps:
    """It is ignored, or rejected."""
    yield from fetched(subject.ask(evalside_probe=1))
    return Finding(Verdict.IGNORED, "accepted without a word")


def unknown_model(subject: Subject) -> Steps:
    """It is rejected."""
    answer = yield from plain(subject.ask(model=_STRANGER))
    return Finding(Verdict.IGNORED, f"asked '{_STRANGER}', answered as {short(answer.fields.get('model'))}")


def invalid_request(subject: Subject) -> Steps:
    """A request without its prompt is the client's mistake, and nothing a retry could mend."""
    answer = yield from answered(subject.post())
    if 400 <= answer.status < 500:
        return Finding(Verdict.SUPPORTED, refusal(answer))
    return Finding(Verdict.WRONG, refusal(answer))


def error_shape(subject: Subject) -> Steps:
    """Errors are `{"error": {"message": …}}`."""
    last = None
    for ask in (subject.ask(temperature="hot"), subject.ask(model=_STRANGER), subject.post()):
        answer = yield from answered(ask)
        if answer.status == 200:
            continue
        last = answer
        if answer.fields:
            break
    if last is None:
        raise Decided(Verdict.UNKNOWN, "everything that was tried was accepted")
    error = last.fields.get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return Finding(Verdict.SUPPORTED, f"{last.status} {short(last.fields)}")
    return Finding(Verdict.WRONG, f"{last.status} {short(last.fields) if last.fields else _as_text(last)}")


def _as_text(answer: Answer) -> str:
    return f"{answer.content_type}: {short(message(answer))}"


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of a generation route."""
    return (
        Check(
            route,
            "unknown_parameter",
            "it has an effect; ignored and rejected are both fine",
            unknown_parameter,
            (),
            {Verdict.REJECTED: "normalize drops what this server does not know"},
            frozenset({Verdict.IGNORED, Verdict.REJECTED}),
        ),
        Check(
            route,
            "unknown_model",
            "another model answers in its place; rejected is right",
            unknown_model,
            (),
            {Verdict.IGNORED: "a typo in the model's name goes unseen"},
            frozenset({Verdict.REJECTED}),
        ),
        Check(
            route,
            "invalid_request",
            "a broken request is a 4xx",
            invalid_request,
            (),
            {Verdict.WRONG: "clients may retry for ever"},
        ),
        Check(
            route,
            "error_shape",
            "errors are {error: {message}}",
            error_shape,
            (),
            {Verdict.WRONG: "normalize turns detail into error"},
        ),
    )
