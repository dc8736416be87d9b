"""Which model answers behind the upstream's URL, as far as it can be known."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from proxy.core.http import Headers
from proxy.upstream.address import Address
from proxy.upstream.probe import Prober, Unknown
from proxy.wire.identity import SIGNS, Identity, ServerFacts, digest

FRESH = 10.0
"""Seconds after which a probe is old, whatever else was answered: only a probe tells which model it is. Less than the
transport keeps an idle connection, so that within this time the end of the server is also the end of a connection,
which is seen."""
_TRIES = 2
"""Probes that a lookup waits for: there may be a doubt while the first runs."""
_GAP = 0.1
_GAP_FACTOR = 5
"""Confirming probes leave the server alone for at least `_GAP` seconds, and for so many times as long as one takes."""
_LONGEST_GAP = 1.0
"""Seconds: what waits to be confirmed is not stored yet."""
_MODELS_KEPT = 256
"""Models whose identity is remembered. Clients invent names; when there are more, all are looked at anew."""

Change = tuple[str | None, str, str]
"""Of a model: from one identity to another."""

logger = logging.getLogger("evalside")


class IdentityWatch:
    """Knows the identity of the model that answers now, and notices when it changes.

    `namespace` takes the place of everything; nothing is probed then. `canary` is a prompt whose greedy answer takes
    the place of the sign of the running instance. One watch serves one upstream, on one event loop.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        address: Address,
        *,
        namespace: str | None = None,
        canary: str | None = None,
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._named = Identity(namespace) if namespace is not None else None
        self._canary = canary
        self._url = address.url
        self._prober = Prober(transport, address, api_key)
        self._clock = clock
        self._facts: ServerFacts | None = None
        self._probed_at = 0.0
        self._doubts = 0
        self._settled = -1  # how many doubts there were when the last good probe began
        self._lapsed = False
        self._valid: dict[str | None, Identity] = {}  # by model, made of the facts above
        self._last: dict[str | None, Identity] = {}  # by model, whatever came after
        self.told: set[Change] = set()
        """What was logged: watches of one server share it, so that each change is told once."""
        self._canaries: dict[tuple[str | None, str, int], str] = {}
        self._canary_failed = False
        self._unknown = False
        self._asking = asyncio.Lock()  # one canary at a time; who waited finds the answer there
        self._next: _Round | None = None
        self._running: _Round | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._ended = -1e9
        self._gap = 0.0

    async def current(self, headers: Headers, model: str | None) -> Identity | None:
        """Return the identity to look up under, None where it cannot be known now.

        Does not suspend while what is known is fresh. Probes before the first answer, when the last probe is
        `FRESH` seconds old, and after a doubt.
        """
        if self._named is not None:
            return self._named
        for _ in range(_TRIES):
            if self._fresh():
                break
            await self._probed(headers)
        identity = await self._identity(headers, model) if self._fresh() else None
        # While the canary was asked another probe may have found something else.
        return identity if self._fresh() and self._valid.get(model) is identity else None

    async def server(self, headers: Headers) -> ServerFacts | None:
        """Return what the server tells, under a namespace too; None where that cannot be known now."""
        for _ in range(_TRIES):
            if self._fresh():
                break
            await self._probed(headers)
        return self._facts if self._fresh() else None

    async def confirmed(self, before: Identity, headers: Headers, model: str | None) -> bool:
        """Return whether a probe that began after this call gives the identity `before` for the model.

        All who call before it begins share it. Probes keep a distance, so this may take a moment.
        """
        if self._named is not None:
            return True
        found = await asyncio.shield(self._join(headers).answer)
        now = await self._identity(headers, model) if found is not None and found is self._facts else None
        return now is not None and now.name == before.name

    @property
    def generates(self) -> bool:
        """Whether finding out takes an answer of the model: the canary's."""
        return self._canary is not None and self._named is None

    def knows(self, name: str) -> bool:
        """Return whether an identity on record may be of this server: it has its namespace, else its URL."""
        if self._named is not None:
            return name == self._named.name
        return name == self._url or name.startswith(self._url + " ")

    def doubt(self) -> None:
        """Note that a connection failed, or that the server may be about to change or have changed.

        The next lookup asks the server everything again first.
        """
        self._doubts += 1

    def hurry(self) -> None:
        """Have a probe that `confirmed` waits for begin at once, whatever distance it should keep."""
        self._hurry.set()

    def lapse(self) -> None:
        """Note that the server ended an idle connection, as it does when it stops: the next lookup probes first."""
        self._lapsed = True
        if self._canary is not None and self._facts is not None and not self._facts.instance:
            self.doubt()  # nothing but the canary can tell whether it is the same server that comes back

    async def aclose(self) -> None:
        """End the probe in flight; who waits for it is told that nothing is known."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.answer.set_result(None)

    # -- probes --------------------------------------------------------------------------------------------------------

    def _fresh(self) -> bool:
        settled = self._facts is not None and self._settled == self._doubts and not self._lapsed
        return settled and self._clock() - self._probed_at < FRESH

    async def _probed(self, headers: Headers) -> None:
        """Wait for a probe that saw all doubts there are now."""
        running = self._running
        if running is None or running.doubts != self._doubts or self._lapsed:
            running = self._join(headers)
            self._hurry.set()  # a client waits for it
        await asyncio.shield(running.answer)

    def _join(self, headers: Headers) -> _Round:
        if self._next is None:
            self._next = _Round(headers, asyncio.get_running_loop().create_future())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._probe_while_wanted())
        return self._next

    async def _probe_while_wanted(self) -> None:
        while self._next is not None:
            await self._keep_distance()
            self._running, self._next = self._next, None
            try:
                await self._probe(self._running)
            finally:
                self._running = None

    async def _keep_distance(self) -> None:
        try:
            async with asyncio.timeout(self._ended + self._gap - self._clock()):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    async def _probe(self, wanted: _Round) -> None:
        began = self._clock()
        wanted.doubts, self._lapsed = self._doubts, False
        try:
            found = await self._prober.facts(wanted.headers, self._facts, everything=self._settled != wanted.doubts)
        except Unknown as error:
            if not self._unknown:
                logger.warning(
                    "what runs at %s cannot be known, so nothing is looked up or stored: %s", self._url, error
                )
            self._unknown = True
            self.doubt()
        else:
            self._unknown = False
            if found != self._facts or self._settled != wanted.doubts:
                self._facts = found
                self._valid.clear()
            self._settled, self._probed_at = wanted.doubts, began
            wanted.answer.set_result(self._facts)
        finally:
            if not wanted.answer.done():
                wanted.answer.set_result(None)
            self._ended = self._clock()
            self._gap = min(max(_GAP, _GAP_FACTOR * (self._ended - began)), _LONGEST_GAP)

    # -- identities ----------------------------------------------------------------------------------------------------

    async def _identity(self, headers: Headers, model: str | None) -> Identity | None:
        if model in self._valid:
            return self._valid[model]
        server, settled = self._facts, self._settled
        assert server is not None
        facts = server.of(model)
        if self._canary is None:
            facts.update(server.instance)
        else:
            said = await self._said(headers, model, digest({**facts, **server.instance}))
            if said is None:
                return None
            facts["canary"] = said
        name = f"{self._url} {server.server} {digest(facts)}" if facts else self._url
        identity = self._noted(model, Identity(name, server.server, facts))
        if server is self._facts and settled == self._settled:  # else a probe came between while the canary was asked
            _make_room(self._valid)
            self._valid[model] = identity
        return identity

    async def _said(self, headers: Headers, model: str | None, instance: str) -> str | None:
        assert self._canary is not None
        key = (model, instance, self._settled)
        async with self._asking:
            if key not in self._canaries:
                try:
                    said = await self._prober.canary(headers, model, self._canary)
                except Unknown as error:
                    if not self._canary_failed:
                        logger.warning(
                            "upstream.canary could not be asked of %s, so nothing is looked up or stored: %s",
                            self._url,
                            error,
                        )
                    self._canary_failed = True
                    return None
                _make_room(self._canaries)
                self._canaries[key] = said
            self._canary_failed = False
            return self._canaries[key]

    def _noted(self, model: str | None, now: Identity) -> Identity:
        before = self._last.get(model)
        if before is not None and before.name == now.name:
            return before
        if before is not None and (model, before.name, now.name) not in self.told:
            # Told once: behind a load balancer identities alternate.
            _make_room(self.told)
            self.told.add((model, before.name, now.name))
            logger.warning("%s", _change(self._url, model, before, now))
        _make_room(self._last)
        self._last[model] = now
        return now


@dataclass(slots=True)
class _Round:
    """One probe and those who wait for it."""

    headers: Headers
    answer: asyncio.Future[ServerFacts | None]
    doubts: int = 0
    """How many doubts there were when it began."""


def _make_room(kept: dict[Any, Any] | set[Any]) -> None:
    if len(kept) >= _MODELS_KEPT:
        kept.clear()


def _change(url: str, model: str | None, before: Identity, now: Identity) -> str:
    names = sorted(
        name for name in before.facts.keys() | now.facts.keys() if before.facts.get(name) != now.facts.get(name)
    )
    shown = "; ".join(f"{name} {before.facts.get(name, 'absent')} -> {now.facts.get(name, 'absent')}" for name in names)
    restarted = SIGNS.issuperset(names)
    what = "the server was restarted" if restarted else "the model changed"
    advice = f"set upstream.namespace to '{before.name}' to go on using them"
    if restarted:
        advice += ", or upstream.canary to have the next restarts of the same model recognized"
    return f"{url}, model {model}: {what} ({shown}); answers stored before are not served any more: {advice}"
