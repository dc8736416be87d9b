"""A recorded run in place of a model server."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from proxy.plugins import DEFAULT
from proxy.settings import ConfigError, InterceptorSpec
from proxy.store.bundle.importing import import_bundle
from proxy.store.bundle.manifest import Manifest
from proxy.store.samples import new_pass
from proxy.store.sqlite import SqliteStore

_CACHE = "caching"
_OTHER_MODES = frozenset({"bypass", "mode", "reuse_cached_responses"})


def replaying(specs: Sequence[InterceptorSpec] | None) -> list[InterceptorSpec]:
    """Return the pipeline with a cache that never asks; one that the operator left out or off is an error.

    Raises:
        ConfigError: there is no `caching` to replay from.
    """
    if specs is None:
        specs = [InterceptorSpec(name=name) for name in DEFAULT]
    if all(spec.name != _CACHE or not spec.enabled for spec in specs):
        raise ConfigError("a replay is answered by the interceptor 'caching'; add it to 'interceptors'")
    return [_never_asking(spec) if spec.name == _CACHE else spec for spec in specs]


def _never_asking(spec: InterceptorSpec) -> InterceptorSpec:
    options = {name: value for name, value in spec.config.items() if name not in _OTHER_MODES}
    return InterceptorSpec(name=spec.name, enabled=spec.enabled, config={**options, "mode": "replay"})


def rewind(bundle: Path, path: Path, *, again: bool = True) -> Manifest:
    """Load a bundle into the store, which is made where it is missing, and return its manifest.

    Args:
        bundle: the file.
        path: the store's database.
        again: begin a new pass of the bundle's run, so that it is replayed from the start.

    Raises:
        StoreError: the bundle cannot be trusted, its run's name is taken, or the store cannot be used.
    """
    store = SqliteStore(path)
    store.open()
    store.close()
    manifest = import_bundle(path, bundle.expanduser()).manifest
    if again and manifest.run is not None:
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            new_pass(connection, manifest.run, source=None, mode=None)
    return manifest
