"""The server itself: whether it says that it is well, and which models it has."""

from __future__ import annotations

from urllib.parse import quote

from proxy.probing.answers import Answer, Ask, objects, short
from proxy.probing.check import Check, Finding, Steps, fetched, lacking, plain, refusal
from proxy.probing.subject import Subject
from proxy.upstream.health import PATHS
from proxy.wire.profile import Verdict

SERVER = "server"
MODELS = b"/v1/models"


def listed(answer: Answer) -> list[str]:
    """Return the ids that a list of models has."""
    ids = (entry.get("id") for entry in objects(answer.fields.get("data")))
    return [name for name in ids if isinstance(name, str)] if answer.status == 200 else []


def health(subject: Subject) -> Steps:
    """`/health` or `/v1/triton_health` is a 200."""
    said = []
    for path in PATHS:
        if path == MODELS:
            continue
        answer = yield Ask(path)
        if answer.status == 200:
            return Finding(Verdict.SUPPORTED, f"{path.decode()}: 200 {short(answer.body.decode('utf-8', 'replace'))}")
        said.append(f"{path.decode()}: {answer.failure or refusal(answer)}")
    return Finding(Verdict.REJECTED, "; ".join(said))


def models(subject: Subject) -> Steps:
    """The list names at least one."""
    answer = yield from plain(Ask(MODELS))
    names = listed(answer)
    if not names:
        return Finding(Verdict.WRONG, short(answer.fields))
    more = sorted(answer.fields.keys() - {"object", "data"})
    return Finding(Verdict.SUPPORTED, short(", ".join(names) + (f"; also {', '.join(more)}" if more else "")))


def model_by_id(subject: Subject) -> Steps:
    """One model is told by its id."""
    if subject.model is None:
        return Finding(Verdict.UNKNOWN, "no model is known to ask for")
    yield from fetched(Ask(MODELS + b"/" + quote(subject.model).encode()))
    return Finding(Verdict.SUPPORTED, subject.model)


def checks() -> tuple[Check, ...]:
    """Return the checks that belong to no route."""
    return (
        Check(
            SERVER,
            "health",
            "/health or /v1/triton_health is 200",
            health,
            (),
            lacking("wait for GET /v1/models instead"),
        ),
        Check(
            SERVER,
            "models",
            "GET /v1/models lists the model",
            models,
            (),
            lacking("name the model yourself: --model, upstream.model_id"),
        ),
        Check(
            SERVER,
            "model_by_id",
            "GET /v1/models/{id} tells of one",
            model_by_id,
            (),
            lacking("harmless: the list has it"),
        ),
    )
