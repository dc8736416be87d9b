"""What an interceptor is made of: a config model, a layer, and a way to build it from the sidecar's services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from proxy.cache.identities import Identities
from proxy.core.pipeline import Interceptor, Layer
from proxy.core.redact import Redactor
from proxy.store.base import CacheStore, ExchangeLog, Memory
from proxy.wire.routes import GENERATION, PIPELINE

ROUTES = frozenset(PIPELINE.values())


class CannotStart(Exception):
    """What an interceptor raises from its `build` where its options cannot work here; the message is the user's."""


class Config(BaseModel):
    """Base of every interceptor's options: frozen, and unknown ones are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unneeded: ClassVar[Mapping[str, str]] = {}
    """The reference's options that are taken and do nothing, with the reason, which the operator is told."""
    elsewhere: ClassVar[Mapping[str, str]] = {}
    """The reference's options that are errors, with the way out."""


class StrictConfig(Config):
    """Base of the options of interceptors that can be forbidden to change anything."""

    strict: bool | None = Field(None, description="true refuses to change anything; null takes the setting `strict`")


class TransformConfig(StrictConfig):
    """Base of the options of interceptors that change requests or answers."""

    routes: frozenset[str] = Field(GENERATION, description="routes it acts on, of: " + ", ".join(sorted(ROUTES)))


class KeepsStrict(Config):
    """Base of the options of interceptors that have a `strict` of their own: by design they change every request.

    They take `Services.strict` where theirs is null, and the pipeline forbids them nothing.
    """

    strict: bool | None = None


C = TypeVar("C", bound=Config)


@dataclass(frozen=True, slots=True)
class ModelNames:
    """Which model the upstream serves, and what clients may call it."""

    default: str | None = None
    aliases: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """What the sidecar offers its interceptors."""

    responses: Callable[[Path | None], CacheStore]
    """The cache in a folder, or the store's own for None. Opened once, closed with the sidecar."""
    log: ExchangeLog
    memory: Memory
    identities: Identities
    """Which model server answers."""
    models: ModelNames
    redactor: Redactor
    strict: bool = False
    """The setting."""


@dataclass(frozen=True, slots=True)
class Plugin(Generic[C]):
    """How the sidecar gets an interceptor. Others register theirs as entry points in `evalside.interceptors`.

    Attributes:
        config: the model of its options.
        layer: where it works; the pipeline is sorted by it.
        build: opens the interceptor for the sidecar's lifetime.
        rank: its place within the layer, lowest first; the order in the configuration breaks ties.
    """

    config: type[C]
    layer: Layer
    build: Callable[[C, Services], AbstractAsyncContextManager[Interceptor]]
    rank: int = 0


def simple(
    make: Callable[[C, Services], Interceptor],
) -> Callable[[C, Services], AbstractAsyncContextManager[Interceptor]]:
    """Return a `build` for an interceptor that has nothing to open or close."""

    @asynccontextmanager
    async def build(config: C, services: Services) -> AsyncIterator[Interceptor]:
        yield make(config, services)

    return build
