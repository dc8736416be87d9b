"""What normalize goes by in a run: frozen with its first request, and kept in the store for its workers and replays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

import orjson

from proxy.cache.identities import Identities
from proxy.core.errors import ServerUnknown, StoreUnwritable
from proxy.core.http import Exchange
from proxy.dialects.frozen import KEY, KIND, Frozen, read_frozen
from proxy.interceptors.base import ModelNames, Services
from proxy.store.base import DEFAULT_RUN, StoreError
from proxy.wire.context import context_length
from proxy.wire.identity import ServerFacts

_EVERYONE = "*"
"""In place of a run's name, which it is not: for what was learned about a model server."""

_RUNS_KEPT = 256
"""Runs whose profile is kept as it was read last."""

logger = logging.getLogger("evalside")

Choose = Callable[[ServerFacts | None], str | None]
"""Returns the dialect for a server, None where that cannot be told now."""


class RunProfiles:
    """Profiles by run. The default run has one for each model server, and goes by that of the one there is now."""

    def __init__(self, services: Services, *, choose: Choose, verdicts: dict[str, str], context: int | None) -> None:
        """`verdicts` and `context` are those of the capability profile, as far as there is one."""
        self._memory = services.memory
        self._identities: Identities = services.identities
        self._models: ModelNames = services.models
        self._runs = services.responses(None)
        self._choose = choose
        self._verdicts = verdicts
        self._context = context
        self._read: dict[str | None, tuple[str, Frozen]] = {}
        self._begun: set[str] = set()

    async def of(self, exchange: Exchange) -> Frozen:
        """Return the profile of the exchange's run, which this may be the first request of.

        Raises:
            ServerUnknown: the dialect depends on a server that cannot be asked now.
            StoreUnwritable: the store refused the profile.
        """
        kept, run = self._recalled(exchange.run), exchange.run or DEFAULT_RUN
        if run != DEFAULT_RUN:
            if kept is not None:
                return kept
            self._look_again(run)
        name = await self._identity(exchange)
        dialect = self._choose(await self._identities.server(exchange.request.headers))
        if kept is not None and name in {"", kept.identity} and dialect in {None, kept.dialect}:
            return kept
        return await self._begin(exchange, name)

    def _look_again(self, run: str) -> None:
        """Have what is frozen be what there is now: once for each run, so that its first requests share the look."""
        if run not in self._begun:
            if len(self._begun) >= _RUNS_KEPT:
                self._begun.clear()
            self._begun.add(run)
            self._identities.doubt()

    async def accepted(self, run: str | None, profile: Frozen, route: str, names: Collection[str]) -> Frozen:
        """Settle that the server took these parameters in the run, but for those it has refused before."""
        return await self._amend(run, profile, lambda known: known.accept(route, names))

    async def refused(self, run: str | None, profile: Frozen, route: str, names: Collection[str]) -> Frozen:
        """Settle that the server refused these parameters in the run, but for those it has taken before.

        Those that are left out from now on are what other runs of the same server begin with.
        """
        now = await self._amend(run, profile, lambda known: known.drop(route, names))
        learned = sorted(set(names).intersection(now.dropped.get(route, ())))
        if learned and now.identity:
            await self._write(_EVERYONE, now.identity, lambda before: _with(before, route, learned))
            logger.info("the model server refused %s on %s: left out from now on", ", ".join(learned), route)
        return now

    async def _begin(self, exchange: Exchange, identity: str) -> Frozen:
        facts = await self._identities.server(exchange.request.headers)
        dialect = self._choose(facts)
        if dialect is None:
            raise ServerUnknown(
                "which model server there is cannot be known now, and 'dialect: auto' depends on it; ask again when it"
                " is up, or name its dialect among the options of 'normalize'"
            )
        room = context_length(facts.of(self._model(exchange))) if facts is not None else None
        fresh = Frozen(
            identity=identity,
            dialect=dialect,
            context_length=self._context or room,
            verdicts=self._verdicts,
            dropped=_names(self._memory.recall(_EVERYONE, KIND, identity)) if identity else {},
        )
        if facts is None:  # nobody knows yet what to freeze
            return fresh
        named = (exchange.run or DEFAULT_RUN) != DEFAULT_RUN
        first = (await self._inherited(exchange.run) if named else None) or fresh

        def settle(before: str | None) -> str:
            known = read_frozen(before) if before is not None else None
            if known is not None and (named or (known.identity, known.dialect) == (identity, dialect)):
                return known.text()
            return first.text()

        return _parsed(await self._write(exchange.run, KEY, settle))

    async def _inherited(self, run: str | None) -> Frozen | None:
        """Return the profile of the run whose samples this one replays first."""
        source = (await self._runs.run(run or DEFAULT_RUN)).source
        return self._recalled(source) if source is not None else None

    async def _amend(self, run: str | None, profile: Frozen, change: Callable[[Frozen], Frozen]) -> Frozen:
        def settle(before: str | None) -> str:
            known = read_frozen(before) if before is not None else None
            return change(known if known is not None and known.identity == profile.identity else profile).text()

        return _parsed(await self._write(run, KEY, settle))

    async def _write(self, run: str | None, key: str, change: Callable[[str | None], str]) -> str:
        try:
            return await self._memory.amend(run, KIND, key, change)
        except StoreError as error:
            raise StoreUnwritable(f"normalize cannot keep what the run goes by: {error}") from None

    def _recalled(self, run: str | None) -> Frozen | None:
        text = self._memory.recall(run, KIND, KEY)
        if text is None:
            return None
        known = self._read.get(run)
        if known is None or known[0] != text:
            frozen = read_frozen(text)
            if frozen is None:
                return None
            if len(self._read) > _RUNS_KEPT:
                self._read.clear()
            known = self._read[run] = (text, frozen)
        return known[1]

    async def _identity(self, exchange: Exchange) -> str:
        found = await self._identities.current(exchange.request.headers, self._model(exchange))
        return found.name if found is not None else ""

    def _model(self, exchange: Exchange) -> str | None:
        """Return what the model server will know the model by."""
        asked = exchange.request.body.json.get("model") or self._models.default
        return (self._models.aliases or {}).get(asked, asked) if isinstance(asked, str) else None


def _parsed(text: str) -> Frozen:
    frozen = read_frozen(text)
    assert frozen is not None, "it was written as one"
    return frozen


def _names(text: str | None) -> dict[str, list[str]]:
    """Return parameters by route, as `_with` wrote them."""
    found: dict[str, list[str]] = orjson.loads(text) if text is not None else {}
    return found


def _with(before: str | None, route: str, names: Collection[str]) -> str:
    known = _names(before)
    known[route] = sorted({*known.get(route, ()), *names})
    return orjson.dumps(known, option=orjson.OPT_SORT_KEYS).decode()
