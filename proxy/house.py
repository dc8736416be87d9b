"""Everything that lives as long as the sidecar does, put together from the settings."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from proxy.cache.identities import Always, Identities
from proxy.console import console
from proxy.core.pipeline import Next, compose
from proxy.core.redact import Redactor
from proxy.edge.asgi import Edge, EdgeOptions
from proxy.edge.gate import Gate
from proxy.interceptors.base import ModelNames, Services
from proxy.plugins import Entry, build, fingerprint, plan
from proxy.replay import STORE, own_folder, replaying, rewind
from proxy.settings import ConfigError, Settings, secret
from proxy.store.base import CacheStore, StoreError
from proxy.store.location import parse_store_url
from proxy.store.retention import Retention
from proxy.store.sqlite import SqliteStore
from proxy.upstream.address import Address, parse_address
from proxy.upstream.health import answers
from proxy.upstream.http1 import Http1Transport
from proxy.upstream.identity import IdentityWatch
from proxy.upstream.recorded import Recorded
from proxy.upstream.terminal import Timeouts, Upstream
from proxy.upstream.transport import AiohttpTransport
from proxy.upstream.watches import Watches

logger = logging.getLogger("evalside")

CACHE_FILE = "cache.db"
"""The database in a `cache_dir`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings with everything checked that can be checked without opening anything."""

    settings: Settings
    address: Address
    store_path: Path
    entries: list[Entry]
    fingerprint: str
    token: str | None
    api_key: str | None
    redactor: Redactor

    @property
    def notes(self) -> list[str]:
        """What the operator is to be told of a configuration that works."""
        return [*self.settings.notes, *(note for entry in self.entries for note in entry.notes)]


def make_plan(settings: Settings) -> Plan:
    """Return the plan.

    Raises:
        ConfigError: something in the settings cannot be carried out.
    """
    token = secret(settings.auth.token_name, "auth.token_name")
    api_key = secret(settings.upstream.api_key_name, "upstream.api_key_name")
    try:
        address = parse_address(settings.upstream.url)
        store_path = parse_store_url(settings.store)
    except (ValueError, StoreError) as error:
        raise ConfigError(str(error)) from None
    if settings.replay is None and settings.replay_dir is not None:
        raise ConfigError(
            f"replay_dir '{settings.replay_dir}' is the store of a replay, and nothing is replayed; name a bundle in"
            " 'replay', or take it out"
        )
    if settings.replay_dir is not None:
        store_path = settings.replay_dir.expanduser() / STORE
    entries = plan(settings.interceptors if settings.replay is None else replaying(settings.interceptors))
    return Plan(
        settings=settings,
        address=address,
        store_path=store_path,
        entries=entries,
        fingerprint=fingerprint(entries),
        token=token,
        api_key=api_key,
        redactor=Redactor([token, api_key]),
    )


@dataclass(frozen=True, slots=True)
class ModelSide:
    """What stands behind the pipeline: a model server, or the record of one."""

    ask: Next
    identities: Identities
    ready: Callable[[], Awaitable[str]]
    """Returns an empty string where it answers, else what is wrong."""
    run: str | None = None
    """The recorded run, which requests without a run's name belong to."""


@dataclass(frozen=True, slots=True)
class House:
    """What the app and its admin routes use while the sidecar runs."""

    plan: Plan
    gate: Gate
    edge: Edge
    store: SqliteStore
    stores: Collection[SqliteStore]
    """It, and those that a `cache_dir` named."""
    model: ModelSide
    failures: Counter[str]
    """How often an interceptor failed open or closed, by name; `observer` counts dropped taps."""


@asynccontextmanager
async def open_house(made: Plan) -> AsyncIterator[House]:
    """Open store, model side and interceptors, and close them again.

    Raises:
        StoreError: the store, or the bundle to replay, cannot be used.
    """
    settings = made.settings
    async with AsyncExitStack() as stack:
        stack.enter_context(console(settings.log_level, made.redactor))
        retention = Retention(**settings.retention.model_dump())
        if settings.replay is not None:
            retention = Retention()  # a record is no older than when it was made
            if settings.replay_dir is None:
                made = replace(made, store_path=stack.enter_context(own_folder()) / STORE)
        stores: dict[Path, SqliteStore] = {}

        def responses(folder: Path | None) -> CacheStore:
            path = cache_path(made, folder)
            if path not in stores:
                stores[path] = _open_store(stack, path, retention)
            return stores[path]

        for note in made.notes:
            logger.warning("configuration: %s", note)
        responses(None)
        store = stores[made.store_path]
        model = await _model_side(stack, made)
        failures: Counter[str] = Counter()

        def failed(name: str) -> None:
            failures[name] += 1

        services = Services(
            responses=responses,
            log=store,
            memory=store,
            identities=model.identities,
            models=ModelNames(settings.upstream.model_id, settings.upstream.model_aliases),
            redactor=made.redactor,
        )
        stages = await build(made.entries, services, stack, strict=settings.strict)
        gate = Gate(made.token, anonymous=settings.auth.anonymous, allowed_hosts=settings.allowed_hosts)
        edge = Edge(
            compose(stages, model.ask, on_failure=failed),
            model.ask,
            gate,
            EdgeOptions(
                settings.max_body_bytes,
                relay_only=not stages,
                fingerprint=made.fingerprint,
                default_run=model.run,
            ),
            on_tap_error=lambda: failed("observer"),
        )
        yield House(made, gate, edge, store, stores.values(), model, failures)


async def _model_side(stack: AsyncExitStack, made: Plan) -> ModelSide:
    settings = made.settings.upstream
    if made.settings.replay is not None:
        manifest = rewind(made.settings.replay, made.store_path, again=False)
        return ModelSide(Recorded(manifest.models), Always(), _always_ready, manifest.run)
    plain = made.address.origin.startswith("http://")
    transport: Http1Transport | AiohttpTransport = Http1Transport() if plain else AiohttpTransport()
    await stack.enter_async_context(transport)
    make = partial(
        IdentityWatch,
        transport,
        made.address,
        namespace=settings.namespace,
        canary=settings.canary,
        api_key=made.api_key,
    )
    watch = Watches(make, ignored=partial(_makes_no_difference, made))
    stack.push_async_callback(watch.aclose)
    transport.on_doubt, transport.on_lapse = watch.doubt, watch.lapse
    upstream = Upstream(transport, made.address, Timeouts(**settings.timeout.model_dump()), made.api_key, watch.doubt)
    return ModelSide(upstream, watch, lambda: answers(transport, made.address))


def _makes_no_difference(made: Plan, credential: bytes) -> bool:
    """Return whether a client's credential, by its header's name, cannot decide which model server answers."""
    if made.settings.upstream.namespace is not None:
        return True
    return made.api_key is not None and credential == b"authorization"


async def _always_ready() -> str:
    return ""


def cache_path(made: Plan, folder: Path | None) -> Path:
    """Return the database of a `cache_dir`; None is the store's own."""
    return folder.expanduser() / CACHE_FILE if folder is not None else made.store_path


def _open_store(stack: AsyncExitStack, path: Path, retention: Retention) -> SqliteStore:
    store = SqliteStore(path, retention)
    store.open()
    stack.callback(store.close)
    return store


def describe(made: Plan) -> dict[str, Any]:
    """Return the effective configuration, secrets redacted, for `/-/config` and `evalside check`."""
    pipeline = [
        {
            "name": entry.name,
            "layer": entry.plugin.layer.name.lower(),
            "config": {name: value for name, value in entry.options.items() if value is not None},
        }
        for entry in made.entries
    ]
    described: dict[str, Any] = made.redactor.document(
        {
            "settings": made.settings.model_dump(mode="json"),
            "upstream": {"url": made.address.url},
            "pipeline": pipeline,
            "fingerprint": made.fingerprint,
        }
    )
    return described
