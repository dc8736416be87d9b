"""The key of a stored answer, taken again from what is stored beside it."""

from __future__ import annotations

from proxy.store.base import KeySource
from proxy.wire.key import KeyInput, cache_key


def key_of(source: KeySource, request: bytes) -> bytes:
    """Return the 32-byte key of a request whose body has the canonical form `request`."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in source.headers]
    path, query = source.path.encode("latin-1"), source.query.encode("latin-1")
    of = KeyInput(source.identity, source.method, path, query, headers)
    return cache_key(of, request, [name for name, _ in headers])
