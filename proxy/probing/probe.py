"""A whole probe: reach the endpoint, recognize it, make the checks one by one, and write down what they found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import httpx

from proxy.probing.answers import Answer, Ask, reasoning_field
from proxy.probing.asker import Asker, Endpoint
from proxy.probing.check import Check, Decided, Finding
from proxy.probing.checks.limits import context_of
from proxy.probing.checks.server import SERVER
from proxy.probing.reach import Reached, check_address, reach
from proxy.probing.subject import MAX_COMPLETION_TOKENS, MAX_TOKENS, Subject
from proxy.probing.table import CHECKS, GENERATION, ROUTES
from proxy.upstream.identity import IdentityWatch
from proxy.wire.identity import Identity
from proxy.wire.profile import Capability, Profile, Verdict

T = TypeVar("T")

Progress = Callable[[int, int, str], None]
"""Told, before each check, how many are done, how many there are, and what this one is."""

_NEEDED = ("temperature", "top_p", MAX_TOKENS)
"""What no evaluation can do without."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be probed."""

    endpoint: Endpoint
    model: str | None = None
    """None takes the first that the server lists."""
    routes: Collection[str] = ROUTES
    namespace: str | None = None
    """Identity in place of what the server says of itself."""
    canary: str | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """A profile, and what else there is to say."""

    profile: Profile
    others: list[str]
    """Models that the server lists, and that were not asked."""


async def probe(transport: httpx.AsyncBaseTransport, wanted: Wanted, progress: Progress) -> Probed:
    """Return what the endpoint can do.

    Raises:
        Unreachable: nothing can be probed; the message says why.
    """
    asker, url = Asker(transport, wanted.endpoint), wanted.endpoint.address.url
    has_key = wanted.endpoint.api_key is not None
    reached = await _driven(reach(url, wanted.model, has_key=has_key), asker)
    identity = await _identity(transport, wanted, reached.model)
    facts = dict(identity.facts) if identity else {}
    subject = Subject(SERVER, reached.model, context_length=context_of(facts, []), has_key=has_key)
    subjects = {route: replace(subject, route=route) for route in ROUTES}
    generation = [route for route in GENERATION if route in wanted.routes]
    for route in generation:
        subjects[route] = await _driven(settled(subjects[route]), asker)
    if generation:
        check_address(url, list(asker.answers.values()), has_key=has_key)
    chosen = [check for check in CHECKS.values() if check.route in wanted.routes]
    found: dict[str, Finding] = {}
    for position, check in enumerate(chosen):
        progress(position, len(chosen), f"{check.name}: {check.about}")
        found[check.name] = await _found(check, subjects[check.route], found, asker)
    progress(len(chosen), len(chosen), "")
    return Probed(_profile(wanted, reached, identity, found, asker), reached.others)


def settled(subject: Subject) -> Generator[Ask, Answer, Subject]:
    """Return the subject with the name that its server has for the limit, and whether it takes a temperature."""
    for limit in (MAX_TOKENS, MAX_COMPLETION_TOKENS):
        named = replace(subject, limit=limit)
        if not _names(limit, (yield named.ask())):
            return replace(named, takes_temperature=not _names("temperature", (yield named.ask(temperature=0))))
    return subject


def _names(parameter: str, answer: Answer) -> bool:
    """Whether an answer is an error that is about a parameter."""
    return answer.status in {400, 422} and parameter in answer.body.decode("utf-8", "replace")


def usable(profile: Profile) -> str:
    """Return an empty string where a probed generation route can be evaluated, or none was probed; else why not."""
    reasons = []
    for route in GENERATION:
        if f"{route}.works" not in profile.capabilities:
            continue
        if not profile.supports(f"{route}.works"):
            reasons.append(f"{route} does not work ({profile.capability(f'{route}.works').evidence})")
            continue
        refused = [name for name in _NEEDED if _refused(profile, route, name)]
        if not refused:
            return ""
        reasons.append(f"{route} rejects {', '.join(refused)}")
    return "; ".join(reasons)


def _refused(profile: Profile, route: str, name: str) -> bool:
    renamed = name == MAX_TOKENS and profile.supports(f"{route}.{MAX_COMPLETION_TOKENS}")
    return profile.verdict(f"{route}.{name}") is Verdict.REJECTED and not renamed


async def _found(check: Check, subject: Subject, found: dict[str, Finding], asker: Asker) -> Finding:
    works = found.get(f"{check.route}.works")
    if check.route in GENERATION and works is not None and works.verdict is not Verdict.SUPPORTED:
        return Finding(Verdict.UNKNOWN, f"{check.route} does not work")
    try:
        return await _driven(check.steps(subject), asker)
    except Decided as early:
        return early.finding


async def _driven(steps: Generator[Ask, Answer, T], asker: Asker) -> T:
    """Return what a generator of requests returns, once it was sent their answers."""
    try:
        ask = next(steps)
        while True:
            ask = steps.send(await asker(ask))
    except StopIteration as end:
        returned: T = end.value
        return returned


async def _identity(transport: httpx.AsyncBaseTransport, wanted: Wanted, model: str | None) -> Identity | None:
    endpoint = wanted.endpoint
    watch = IdentityWatch(transport, endpoint.address, canary=wanted.canary, api_key=endpoint.api_key)
    try:
        return await watch.current([], model)
    finally:
        await watch.aclose()


def _profile(
    wanted: Wanted, reached: Reached, identity: Identity | None, found: dict[str, Finding], asker: Asker
) -> Profile:
    answers = list(asker.answers.values())
    fields = [field for answer in answers if (field := reasoning_field(answer))]
    return Profile(
        server=_server(identity, reached.model, answers),
        url=wanted.endpoint.address.url,
        identity=wanted.namespace or (identity.name if identity else None),
        probed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=reached.model,
        context_length=context_of(dict(identity.facts) if identity else {}, answers),
        reasoning_field=next(iter(fields), None),
        capabilities={
            name: Capability(item.verdict, item.evidence, CHECKS[name].needed_by) for name, item in found.items()
        },
    )


def _server(identity: Identity | None, model: str | None, answers: list[Answer]) -> str:
    """Return the kind of server: as its information routes tell it, else as its answers do."""
    kind = identity.server if identity else "unknown"
    if kind in {"unknown", "openai"} and any(_of_transformers(answer) for answer in answers):
        return "transformers"
    return kind


def _of_transformers(answer: Answer) -> bool:
    """`transformers serve` names model and revision, and has no list of models where the hub cannot be reached."""
    named = answer.fields.get("model")
    return isinstance(named, str) and named.endswith("@main")
