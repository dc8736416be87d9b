"""What a model server refuses to every request of a kind, for damping: requests that differ in their content alone."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from proxy.core.document import encode
from proxy.core.errors import RequestError
from proxy.core.http import Exchange, Payload, Response
from proxy.interceptors.failures import Failure, digest
from proxy.wire import routes

LONGEST = 10.0
"""Seconds. Who was refused longer ago asks the model server again: lm-eval waits as long between two attempts."""
MOST_KINDS = 8
"""That are remembered in each worker; the one that was refused longest ago goes."""
MOST_REQUESTS = 8192
"""Of a kind, that are known to be refused; the one that was refused longest ago goes."""

_CONTENT: dict[str, frozenset[str]] = {
    routes.CHAT: frozenset({"messages", "seed"}),
    routes.COMPLETIONS: frozenset({"prompt", "suffix", "seed"}),
    routes.RESPONSES: frozenset({"input", "instructions", "seed"}),
    routes.MESSAGES: frozenset({"messages", "system"}),
    routes.EMBEDDINGS: frozenset({"input"}),
}
"""What differs from one sample of a benchmark to the next; all else is the same in all requests of a kind."""


class Place(NamedTuple):
    """Where a request belongs."""

    kind: bytes
    request: bytes


class _Kind(NamedTuple):
    failure: Failure
    refused: OrderedDict[bytes, float]
    """When each request was itself refused last."""


class RefusedKinds:
    """Remembers what was said to all requests of a kind, as long as it is the same to each, byte for byte.

    A single answer that is another ends it: then the content matters, or the server has recovered.
    """

    def __init__(self, after: int) -> None:
        """Take different requests of a kind to be all of it once so many of them were refused alike."""
        self._after = after
        self._kinds: OrderedDict[bytes, _Kind] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def known(self, place: Place, now: float) -> Failure | None:
        """Return what was said to the kind last, if it was said to this very request, too, and not long ago."""
        while self._kinds and now - next(iter(self._kinds.values())).failure.failed_at >= LONGEST:
            self._kinds.popitem(last=False)
        kind = self._kinds.get(place.kind)
        if kind is None or len(kind.refused) < self._after:
            return None
        refused_at = kind.refused.get(place.request)
        return kind.failure if refused_at is not None and now - refused_at < LONGEST else None

    def refused(self, place: Place, response: Response, now: float) -> None:
        """Note what the model server said to a request."""
        assert isinstance(response.body, Payload)
        kind = self._kinds.get(place.kind)
        if kind is None or (kind.failure.status, kind.failure.body) != (response.status, response.body.raw):
            kind = self._kinds[place.kind] = _Kind(Failure(response.status, [], b""), OrderedDict())
        kind.failure.told(response, now)
        kind.refused[place.request] = now
        for remembered, key, most in (
            (kind.refused, place.request, MOST_REQUESTS),
            (self._kinds, place.kind, MOST_KINDS),
        ):
            remembered.move_to_end(key)
            if len(remembered) > most:
                remembered.popitem(last=False)

    def forget(self, place: Place) -> None:
        """Note that a request of the kind was answered otherwise."""
        self._kinds.pop(place.kind, None)


def place_of(exchange: Exchange) -> Place | None:
    """Return which kind a request is of; None where its content cannot be told from the rest."""
    content = _CONTENT.get(exchange.route or "")
    body = exchange.request.body
    if content is None:
        return None
    try:
        if not body.exact:
            return None
        rest = encode({name: body.json[name] for name in sorted(body.json) if name not in content})
    except (RequestError, ValueError):  # no JSON object, or none that could be written again
        return None
    return Place(digest(exchange.run, exchange.request, rest), hashlib.sha256(body.raw).digest())
