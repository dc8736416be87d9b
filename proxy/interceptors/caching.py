"""caching: a complete answer is asked for once, and every sample of a run is kept."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from proxy.cache.asked import Asked
from proxy.cache.flights import Flights
from proxy.cache.keeping import Keeper, Witness
from proxy.cache.lookup import OTHER_SHAPE, Lookup
from proxy.cache.place import NotCacheable, Place, Rules
from proxy.cache.places import Places
from proxy.cache.pooling import Pooling
from proxy.cache.sampling import Sampling
from proxy.cache.verifying import Verifier
from proxy.core.errors import ReplayMiss, UpstreamUnreachable
from proxy.core.facts import CacheFacts, CacheOverride
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Interceptor, Layer, Next
from proxy.core.redact import SECRET_NAME
from proxy.interceptors.base import Config, Plugin, Services
from proxy.store.base import DEFAULT_RUN, LOSSY_SHAPES, RunState, StoreError
from proxy.wire.identity import Identity
from proxy.wire.key import KEY_HEADERS

logger = logging.getLogger("evalside")

Mode = Literal["on", "off", "read", "write", "refresh", "replay", "verify"]

_DEFAULT = RunState()
"""The default run has neither passes nor a mode."""

_NOTED = 10_000
"""Passes, and model servers of passes, that are remembered."""

_UNKNOWN_SERVER = "which model server is there cannot be known now, so nothing is looked up or kept"


class CachingConfig(Config):
    """Where answers are kept, and which way the cache works."""

    mode: Mode | None = Field(
        None,
        description="on, off, read (store nothing), write (serve nothing), refresh (ask again and replace), replay"
        " (never ask) or verify (serve, and ask a fraction again); null is on",
    )
    reuse_cached_responses: bool | None = Field(None, description="the reference's switch: true is on, false is write")
    bypass: bool = Field(False, description="the reference's switch: true is off")
    cache_dir: Path | None = Field(None, description="folder of a cache of its own; null keeps it in the store")
    key_headers: tuple[str, ...] = Field(
        tuple(name.decode() for name in KEY_HEADERS), description="request headers that are part of the key"
    )
    coalesce: bool = Field(True, description="identical deterministic requests in flight share one call")
    finish_on_disconnect: bool = Field(
        False, description="let a call finish whose client has left, and keep its answer"
    )
    deterministic: Literal["auto", "never"] = Field(
        "auto", description="auto: temperature 0 is deterministic; never: it is sampled like every other"
    )
    verify_fraction: float = Field(0.1, ge=0, le=1, description="share of hits that mode verify asks for again")
    save_requests: bool = Field(True, description="whether reports and exported pairs hold requests")
    save_responses: bool = Field(True, description="whether reports and exported pairs hold answers")
    max_saved_requests: NonNegativeInt | None = Field(None, description="how many requests they hold; null is all")
    max_saved_responses: NonNegativeInt | None = Field(None, description="how many answers they hold; null is all")
    allow_remote_media: bool = Field(False, description="cache requests that point at media by URL")

    unneeded: ClassVar[Mapping[str, str]] = {"log_level": "the setting log_level says what goes to the console"}

    @field_validator("mode", mode="before")
    @classmethod
    def _as_yaml_reads_it(cls, value: Any) -> Any:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value  # YAML reads `on` as true

    @field_validator("key_headers")
    @classmethod
    def _no_secrets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        secret = next((name for name in names if SECRET_NAME.search(name)), None)
        if secret is not None:
            raise ValueError(f"'{secret}' carries a secret, and what is in the key is stored; take it off the list")
        return names

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> CachingConfig:
        said = [name for name in ("mode", "reuse_cached_responses") if getattr(self, name) is not None]
        if self.bypass:
            said.append("bypass")
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)} say the same thing in different ways; keep one of them")
        return self

    @property
    def effective_mode(self) -> Mode:
        """The mode that the options add up to."""
        if self.bypass:
            return "off"
        if self.reuse_cached_responses is not None:
            return "on" if self.reuse_cached_responses else "write"
        return self.mode or "on"


class Caching:
    """Serves what it has, and stores every complete answer as the server gave it.

    Answers to deterministic requests are shared by everyone. Others are samples: of a named run, in which the k-th
    identical request gets sample k, or of the default run, where they are stored and never served.
    """

    def __init__(self, config: CachingConfig, services: Services) -> None:
        self._mode: str = config.effective_mode
        self._store = services.responses(config.cache_dir)
        self._identities = services.identities
        self._log = services.log
        self._redactor = services.redactor
        rules = Rules(
            key_headers=tuple(name.lower().encode() for name in config.key_headers),
            allow_remote_media=config.allow_remote_media,
            deterministic=config.deterministic == "auto",
        )
        self._places = Places(rules)
        self._keeper = Keeper(self._store, self._identities)
        self._flights = Flights(finish=config.finish_on_disconnect)
        self._verifier = Verifier(self._store, self._identities, config.verify_fraction)
        lookup = Lookup(self._store, self._keeper)
        alone = self._flights if config.finish_on_disconnect else None
        self._sampling = Sampling(self._store, lookup, self._keeper, alone)
        self._pooling = Pooling(lookup, self._keeper, self._flights, self._verifier, coalesce=config.coalesce)
        self._begun: set[tuple[str, int]] = set()
        self._seen: set[tuple[str, int, str]] = set()

    async def aclose(self) -> None:
        """Hang up what nobody waits for, and keep what is complete."""
        await self._verifier.aclose()
        await self._flights.aclose()
        await self._keeper.aclose()

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        run = exchange.run or DEFAULT_RUN
        state = await self._store.run(run) if run != DEFAULT_RUN else _DEFAULT
        override = exchange.get(CacheOverride)
        mode = override.mode if override is not None else state.mode or self._mode
        if mode == "off":
            exchange.put(CacheFacts("off"))
            return await call_next(exchange)
        try:
            place = self._places.of(exchange)
        except NotCacheable as reason:
            if mode == "replay":
                raise ReplayMiss(f"this request is never stored, so it cannot be replayed: {reason}") from None
            exchange.put(CacheFacts("bypass", reason=str(reason)))
            return await call_next(exchange)
        replays = mode == "replay"
        if replays and self._identities.generates:
            identity = None  # a replay asks the model nothing
        else:
            identity = await self._identity(exchange, place, state, note=not replays)
        if identity is None and not replays:
            exchange.put(CacheFacts("miss", reason=_UNKNOWN_SERVER))
            return await _uncached(exchange, call_next)
        if identity is not None and self._store.left:
            await self._adopt(identity, exchange, place)
        names = [] if identity is None else [identity.name]
        if replays:  # the server may have been restarted since, or be gone
            recorded = await self._store.identities(run)
            names += [name for name in recorded if name not in names and self._identities.knows(name)]
        asked = Asked(exchange, call_next, place, mode, identity, names, self._redactor)
        if asked.stores:
            await self._store.room()  # whether or not the mode looks anything up
        try:
            return await (self._pooling if place.deterministic else self._sampling).answer(asked)
        finally:
            facts = exchange.get(CacheFacts)
            if facts is not None and facts.status == "hit":
                self._places.served(exchange, place)
            elif facts is not None and facts.reason == OTHER_SHAPE:
                self._log.observe(exchange.run, {LOSSY_SHAPES: 1})

    async def _adopt(self, identity: Identity, exchange: Exchange, place: Place) -> None:
        """Decide on what a sidecar left that was killed: before it is looked for, or asked for again."""
        try:
            await self._keeper.adopt(Witness(identity, exchange.request.headers, place.model))
        except StoreError as error:
            logger.warning("answers of a sidecar that is gone wait to be confirmed: %s", error)

    async def _identity(self, exchange: Exchange, place: Place, state: RunState, *, note: bool) -> Identity | None:
        """Return which model server would answer now, and note it with the run."""
        run = exchange.run or DEFAULT_RUN
        if (run, state.number) not in self._begun:
            await self._store.look()
        if (run, state.number) not in self._begun:  # of all who looked, one goes on
            _make_room(self._begun)
            self._begun.add((run, state.number))
            self._identities.doubt()  # a run, or a pass of it, begins: look who is there
        identity = await self._identities.current(exchange.request.headers, place.model)
        if note and identity is not None and (run, state.number, identity.name) not in self._seen:
            _make_room(self._seen)
            self._seen.add((run, state.number, identity.name))
            self._store.saw(run, identity.name, identity.server, identity.facts)
        return identity


def _make_room(noted: set[Any]) -> None:
    """Forget everything where it is too much: then something is looked at, or written, once more."""
    if len(noted) >= _NOTED:
        noted.clear()


async def _uncached(exchange: Exchange, call_next: Next) -> Response:
    try:
        return await call_next(exchange)
    except UpstreamUnreachable as error:
        raise UpstreamUnreachable(
            f"{error.message} Stored answers are served without it in mode replay, or under a fixed upstream.namespace."
        ) from error


@asynccontextmanager
async def build(config: CachingConfig, services: Services) -> AsyncIterator[Interceptor]:
    """Open the cache for the sidecar's lifetime."""
    caching = Caching(config, services)
    try:
        yield caching
    finally:
        await caching.aclose()


PLUGIN = Plugin(CachingConfig, Layer.CACHE, build)
