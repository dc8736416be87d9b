"""Which cache a command is about: the one that `evalside serve` would use, with or without a model server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.cache.place import Rules
from proxy.core.redact import Redactor
from proxy.house import CACHE_FILE
from proxy.plugins import Entry, fingerprint, plan
from proxy.settings import OfflineSettings, load_settings
from proxy.store.base import StoreError
from proxy.store.location import parse_store_url
from proxy.store.saved import Saved
from proxy.store.sqlite import SqliteStore
from proxy.upstream.address import parse_address
from proxy.wire.key import KEY_HEADERS

_CACHING = "caching"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the configuration says of the cache."""

    settings: OfflineSettings
    entries: list[Entry]
    database: Path
    """Where the answers are."""
    log: Path
    """Where the exchanges are."""

    @property
    def upstream_url(self) -> str | None:
        """The model server's address in its canonical form."""
        upstream = self.settings.upstream
        return None if upstream is None else parse_address(upstream.url).url

    @property
    def namespace(self) -> str | None:
        """The identity that the operator gave the model server."""
        upstream = self.settings.upstream
        return None if upstream is None else upstream.namespace

    @property
    def rules(self) -> Rules:
        """What of a request counts."""
        options = _caching(self.entries)
        names = options.get("key_headers")
        return Rules(
            key_headers=KEY_HEADERS if names is None else tuple(name.lower().encode() for name in names),
            allow_remote_media=options.get("allow_remote_media", False),
            deterministic=options.get("deterministic") != "never",
        )

    @property
    def saved(self) -> Saved:
        """How much of requests and answers an export holds."""
        options = _caching(self.entries)
        return Saved(
            options.get("max_saved_requests") if options.get("save_requests", True) else 0,
            options.get("max_saved_responses") if options.get("save_responses", True) else 0,
        )

    @property
    def redactor(self) -> Redactor:
        """Takes out the secrets that the configuration names."""
        upstream = self.settings.upstream
        names = [self.settings.auth.token_name, upstream.api_key_name if upstream is not None else None]
        return Redactor(os.environ.get(name) for name in names if name)

    def ready(self, *, make: bool = False) -> Path:
        """Return the database, brought to this version's schema; only with `make` it need not be there.

        Raises:
            StoreError: it is not there, or cannot be used.
        """
        if not make and not self.database.exists():
            raise StoreError(f"there is no store at {self.database}; name another with --store or --config")
        _migrated(self.database)
        return self.database

    def ready_log(self) -> None:
        """Bring the database with the exchanges to this version's schema; it is made where it is not there."""
        _migrated(self.log)

    def pipeline(self) -> dict[str, Any]:
        """Return the effective pipeline for a manifest, secrets redacted."""
        stages = [{"name": entry.name, "config": entry.options} for entry in self.entries]
        described: dict[str, Any] = self.redactor.document(
            {"interceptors": stages, "fingerprint": fingerprint(self.entries)}
        )
        return described


def read_scope(config: Path | None, store: str | None) -> Scope:
    """Return which cache is meant.

    Args:
        config: a YAML file; without one, the file that `EVALSIDE_CONFIG` names, if any.
        store: a store URL that outranks the configuration's, and the `cache_dir` of caching.

    Raises:
        ConfigError: the configuration cannot be used.
        StoreError: the store's URL cannot.
    """
    settings = load_settings(config, None, OfflineSettings)
    entries = plan(settings.interceptors)
    log = parse_store_url(store or settings.store)
    folder = _caching(entries).get("cache_dir") if store is None else None
    return Scope(settings, entries, Path(folder).expanduser() / CACHE_FILE if folder is not None else log, log)


def _migrated(database: Path) -> None:
    store = SqliteStore(database)
    store.open()
    store.close()


def _caching(entries: list[Entry]) -> dict[str, Any]:
    return next((entry.options for entry in entries if entry.name == _CACHING), {})
