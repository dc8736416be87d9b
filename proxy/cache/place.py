"""Where the answer to a request belongs, and why some answers belong nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from proxy.core.http import Request
from proxy.core.redact import without_secrets
from proxy.store.base import KeySource
from proxy.store.keys import key_of
from proxy.wire import routes
from proxy.wire.key import canonical, is_deterministic, key_fields, prompt_hash
from proxy.wire.shape import shape_of
from proxy.wire.state import remote_media, server_state


class NotCacheable(Exception):
    """The answer depends on more than the request; the message says on what."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a request counts."""

    key_headers: tuple[bytes, ...]
    """In lower case."""
    allow_remote_media: bool = False
    deterministic: bool = True
    """False takes temperature 0 for sampled too."""


@dataclass(slots=True)
class Place:
    """A request as the cache sees it, before it is known which model server would answer."""

    route: str
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    request: bytes
    """The body in canonical form."""
    prompt: Callable[[], bytes]
    """Returns the hash of what is asked, for who keeps an answer or looks for neighbors: hits do without."""
    deterministic: bool
    shape: str
    model: str | None
    keys: dict[str, bytes] = field(default_factory=dict, compare=False)
    """By identity, those that were asked for."""

    def source(self, identity: str) -> KeySource:
        """Return what the key is taken from beside the body, for the model server with this identity."""
        return KeySource(identity, self.method, self.path, self.query, self.headers)

    def key(self, identity: str) -> bytes:
        """Return the 32-byte key for the model server with this identity."""
        key = self.keys.get(identity)
        if key is None:
            key = self.keys[identity] = key_of(self.source(identity), self.request)
        return key


def place_of(request: Request, route: str, rules: Rules) -> Place:
    """Return where the answer to `request` belongs.

    Raises:
        NotCacheable: nowhere.
    """
    document, exact = request.body.parsed
    if not exact:
        raise NotCacheable("the body is not strict JSON")
    held = server_state(document)
    if held is not None:
        raise NotCacheable(f"'{held}' depends on state of the server")
    remote = None if rules.allow_remote_media else remote_media(document)
    if remote is not None:
        raise NotCacheable(f"{remote} points at remote media (allow_remote_media)")
    try:
        body = canonical(document)
    except ValueError:
        raise NotCacheable("the body cannot be written as JSON") from None
    named = key_fields(request.headers, rules.key_headers)
    model = document.get("model")
    return Place(
        route,
        request.method,
        request.path.decode("latin-1"),
        without_secrets(request.query.decode("latin-1"), _hashed) if request.query else "",
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in named],
        body,
        partial(prompt_hash, document),
        deterministic=_deterministic(route, document, rules),
        shape=shape_of(document),
        model=model if isinstance(model, str) else None,
    )


def _hashed(value: str) -> str:
    """Return what stands for a secret of the query: keys differ as the secrets do, and none is stored."""
    return "sha256-" + hashlib.sha256(value.encode()).hexdigest()[:16]


def _deterministic(route: str, document: Mapping[str, Any], rules: Rules) -> bool:
    if route not in routes.SAMPLING:
        return True
    return rules.deterministic and is_deterministic(document)
