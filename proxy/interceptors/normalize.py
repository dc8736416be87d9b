"""normalize: what the client sent as this model server takes it, and what the server answers as clients expect it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from proxy.core.difference import ABSENT, snapshot
from proxy.core.errors import UnsupportedParameter
from proxy.core.facts import NoDone, UsageAsked
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.ledger import Ledger
from proxy.core.pipeline import Layer, Next
from proxy.dialects.capabilities import load_profile, outranked
from proxy.dialects.frozen import Frozen
from proxy.dialects.loading import AUTO, find, names, shipped
from proxy.dialects.model import UNKNOWN, Dialect
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple
from proxy.interceptors.fan_out import fan_out
from proxy.interceptors.normalized_answers import AnswerOptions, normalize_answer
from proxy.interceptors.run_profiles import RunProfiles
from proxy.wire.fold import CHUNKED
from proxy.wire.identity import ServerFacts
from proxy.wire.parameters import ASKED, Rules, asks_for_nothing, choices_asked, normalized, refusal
from proxy.wire.refusals import STATUSES, refused_parameters
from proxy.wire.sse import is_event_stream

_NAME = "normalize"
MOST_CHOICES = 128
"""As many as OpenAI gives: a request must not become any number of them."""
_ANYONES = "openai"
"""The kind of a server that only lists its models: it may be any, and no dialect's rules are known to hold."""
_FORKED = b"\nevalside: choice %d"
"""Behind the bytes that were received, for those who tell identical requests by them: each choice is one of its own."""


class NormalizeConfig(TransformConfig):
    """Which model server it is, and what becomes of what it does not take."""

    dialect: str = Field(AUTO, description="a dialect's name, the path of a file, or auto: as the server is recognized")
    on_unsupported: Literal["error", "drop", "learn"] = Field(
        "error", description="a parameter the server lacks: refuse the request, leave it out, or also learn of others"
    )
    profile: Path | None = Field(None, description="capability profile of `evalside probe`; outranks the dialect")
    reasoning_field: Literal["reasoning", "reasoning_content"] | None = Field(
        None, description="what reasoning in answers is called; null leaves the name that it has"
    )
    fill_null_content: bool = Field(False, description='make content of null in answers without tool calls ""')

    @field_validator("dialect")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value != AUTO:
            find(value)
        return value

    @field_validator("profile")
    @classmethod
    def _is_one(cls, value: Path | None) -> Path | None:
        if value is not None:
            load_profile(value)
        return value


class _Start(NamedTuple):
    """An exchange as it came in: each attempt begins with it."""

    request: Request
    ledger: Ledger


class _Told(NamedTuple):
    """An answer, and what was asked."""

    response: Response
    profile: Frozen
    sent: frozenset[str]


class _Attempt(NamedTuple):
    """What is sent on: one request, or one for each choice."""

    exchanges: list[Exchange]
    sent: frozenset[str]
    """Parameters."""
    streamed: bool


class Normalize:
    """Changes top-level parameters, never what is in them. By whose rules is settled by the run's first request."""

    def __init__(self, config: NormalizeConfig, services: Services) -> None:
        self._config = config
        strict = services.strict if config.strict is None else config.strict
        self._learns = config.on_unsupported == "learn" and not strict  # a refusal would only make it refuse, too
        self._own = find(config.dialect) if config.dialect != AUTO else None
        probed = load_profile(config.profile) if config.profile is not None else None
        self._profiles = RunProfiles(
            services,
            choose=self._dialect_for,
            verdicts={name: item.verdict.value for name, item in probed.capabilities.items()} if probed else {},
            context=probed.context_length if probed else None,
        )
        self._answers = AnswerOptions(
            config.reasoning_field, fill_null_content=config.fill_null_content, reshape_errors=not strict
        )

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        route = exchange.route
        assert route is not None, "only pipeline routes have transforms"
        profile = await self._profiles.of(exchange)
        dialect = self._dialect(profile)
        if dialect.answers.done == "missing" and route in CHUNKED:
            exchange.put(NoDone())
        start = _Start(exchange.request, exchange.ledger)
        response, sent = await self._ask(exchange, call_next, start, dialect, profile)
        if self._learns:
            response = await self._learn(exchange, call_next, start, dialect, _Told(response, profile, sent))
        normalize_answer(exchange, response, dialect, self._answers, name=_NAME)
        return response

    def _dialect_for(self, facts: ServerFacts | None) -> str | None:
        if self._own is not None:
            return self._own.name
        if facts is None:
            return None
        return facts.server if facts.server in names() and facts.server != _ANYONES else UNKNOWN.name

    def _dialect(self, profile: Frozen) -> Dialect:
        if self._own is not None:
            return self._own
        return shipped(profile.dialect) if profile.dialect in names() else UNKNOWN

    async def _ask(
        self, exchange: Exchange, call_next: Next, start: _Start, dialect: Dialect, profile: Frozen
    ) -> tuple[Response, frozenset[str]]:
        """Send the request on as the profile has it; return the answer, and the parameters that were sent."""
        attempt = self._attempt(exchange, start, dialect, profile)
        if len(attempt.exchanges) == 1:
            return await call_next(exchange), attempt.sent
        response = await fan_out(attempt.exchanges, call_next, name=_NAME, streamed=attempt.streamed)
        return response, attempt.sent

    async def _learn(
        self, exchange: Exchange, call_next: Next, start: _Start, dialect: Dialect, told: _Told
    ) -> Response:
        """Settle what the answer tells of the parameters, and ask again without those that are not taken.

        What is refused is asked again once. An answer that came with a parameter which the run has dropped meanwhile is
        asked again, too: each time a parameter less.
        """
        response, profile, sent = told
        refused = False
        while True:
            again = await self._settled(exchange, response, profile, sent)
            if again is None or (refused and response.status != 200):
                return response
            refused = refused or response.status != 200
            profile = again
            await response.aclose()
            response, sent = await self._ask(exchange, call_next, start, dialect, profile)

    async def _settled(
        self, exchange: Exchange, response: Response, profile: Frozen, sent: frozenset[str]
    ) -> Frozen | None:
        """Note what the answer tells of the parameters; return a profile to ask again by where it refuses some."""
        assert exchange.route is not None
        droppable = sent - ASKED
        if response.status == 200:
            new = droppable - profile.settled(exchange.route)
            if not new:
                return None
            now = await self._profiles.accepted(exchange.run, profile, exchange.route, new)
        elif response.status in STATUSES and not is_event_stream(response.headers):
            named = refused_parameters(await response.read()) & droppable  # an error is short, and read as a whole
            if not named:
                return None
            now = await self._profiles.refused(exchange.run, profile, exchange.route, named)
        else:
            return None
        return now if droppable.intersection(now.dropped.get(exchange.route, ())) else None

    # -- requests ------------------------------------------------------------------------------------------------------

    def _attempt(self, exchange: Exchange, start: _Start, dialect: Dialect, profile: Frozen) -> _Attempt:
        """Put what is sent on into the exchange, and forks of it where there is more than one request."""
        document = start.request.body.json
        refused = profile.dropped.get(exchange.route or "", []) if self._learns else []
        rules = self._rules(exchange.route or "", dialect, profile, refused)
        fields, reasons, lacking = normalized(document, rules)
        self._leave_out(fields, reasons, lacking, rules.server)
        for name in refused:
            if name in fields and name not in ASKED and not (name == "n" and choices_asked(fields) > 1):
                del fields[name]
                reasons[name] = f"{rules.server} has refused it"
        count = choices_asked(fields) if rules.fan_out else 1
        if count > MOST_CHOICES:
            raise UnsupportedParameter(
                f"'n' is {count}, and of the model server ({rules.server}), which gives one choice at a time, at most"
                f" {MOST_CHOICES} are asked for at once; send several requests"
            )
        if rules.fan_out and "n" in fields and (count > 1 or asks_for_nothing("n", fields["n"])):
            del fields["n"]
            reasons["n"] = f"{rules.server} gives one choice at a time" + (": asked for each" if count > 1 else "")
        if "stream_options" not in fields and _asks_for_usage(exchange.route or "", document):
            exchange.put(UsageAsked())
        changes = _changes(document, fields)
        exchanges = []
        if not changes and count == 1 and not self._learns:  # it is asked once, as it is
            return _Attempt([exchange], frozenset(fields), streamed=False)
        for place in range(count):
            asks = exchange if place == 0 else exchange.fork(ends_with_this=True)
            asks.request = start.request.copy()
            asks.ledger = start.ledger.branch(asks.request)
            if place > 0:
                asks.received = exchange.received + _FORKED % place
            _apply(asks.request.body, changes, place)
            for name, why in reasons.items():
                asks.ledger.explain(name, why)
            if place > 0:
                asks.ledger.explain("seed", "a seed of its own for each choice")
            exchanges.append(asks)
        return _Attempt(exchanges, frozenset(fields), fields.get("stream") is True)

    def _rules(self, route: str, dialect: Dialect, profile: Frozen, refused: Collection[str]) -> Rules:
        rules = outranked(dialect.rules(route), route, profile.verdicts)
        return replace(rules, context_length=profile.context_length, fan_out=rules.fan_out or "n" in refused)

    def _leave_out(self, fields: dict[str, Any], reasons: dict[str, str], lacking: list[str], server: str) -> None:
        if lacking and self._config.on_unsupported == "error":
            raise refusal(lacking, server)
        for name in lacking:
            del fields[name]
            reasons[name] = f"{server} does not take it"


def _asks_for_usage(route: str, document: Mapping[str, Any]) -> bool:
    options = document.get("stream_options")
    return route in CHUNKED and isinstance(options, dict) and options.get("include_usage") is True


def _changes(document: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes the one of the other: values by name, `ABSENT` for what goes."""
    changed: dict[str, Any] = {name: ABSENT for name in document if name not in fields}
    return changed | {name: value for name, value in fields.items() if document.get(name, ABSENT) is not value}


def _apply(body: Payload, changes: Mapping[str, Any], place: int) -> None:
    """Make the changes, and of a seed one that is the choice's own. Without any the body keeps its bytes."""
    seed = body.json.get("seed")
    if place > 0 and type(seed) is int and changes.get("seed") is not ABSENT:
        changes = {**changes, "seed": seed + place}
    for name, value in changes.items():
        if value is ABSENT:
            del body.edit()[name]
        else:
            body.edit()[name] = snapshot(value)


PLUGIN = Plugin(NormalizeConfig, Layer.TRANSFORM, simple(Normalize), rank=950)
