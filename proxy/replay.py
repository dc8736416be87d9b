"""A recorded run in place of a model server."""

from __future__ import annotations

import multiprocessing
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.plugins import DEFAULT
from proxy.settings import ConfigError, InterceptorSpec
from proxy.store.base import StoreError
from proxy.store.bundle.importing import import_bundle
from proxy.store.bundle.manifest import Manifest
from proxy.store.samples import new_pass
from proxy.store.sqlite import SqliteStore

_CACHE = "caching"
_NOT_OF_A_REPLAY = frozenset({"bypass", "cache_dir", "mode", "reuse_cached_responses"})
"""Options of `caching` that name another mode, or a place of the operator's."""
STORE = "evalside.db"
"""The store's file in the folder of a replay."""


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
    options = {name: value for name, value in spec.config.items() if name not in _NOT_OF_A_REPLAY}
    return InterceptorSpec(name=spec.name, enabled=spec.enabled, config={**options, "mode": "replay"})


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder for its owner alone; it is removed at the end, also where that is a SIGTERM."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with TemporaryDirectory(prefix="evalside-replay-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield such a folder to a sidecar that nobody gave one.

    Raises:
        StoreError: it is one of several workers, which would each begin with the first sample.
    """
    if multiprocessing.parent_process() is not None:
        raise StoreError(
            "several workers need one store for a replay, and none was named; start them with 'evalside serve --replay"
            " FILE --workers N', or name a folder in 'replay_dir' (EVALSIDE_REPLAY_DIR)"
        )
    with TemporaryDirectory(prefix="evalside-replay-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


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
