"""The places of requests that were served before: found by their bytes, without reading them again."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from functools import partial

from proxy.cache.place import Place, Rules, place_of
from proxy.core.document import parse
from proxy.core.http import Exchange
from proxy.wire.key import key_fields, prompt_hash

LARGEST = 32 * 1024 * 1024
"""Bytes of requests that are remembered in each worker."""
_OVERHEAD = 1000
"""Bytes of a place beside its bodies, about."""

_Asked = tuple[str | None, str, bytes, tuple[tuple[bytes, bytes], ...], bytes]
"""Route, method, path, the header fields that count, and the body: all that a place without a query is made of."""


class Places:
    """Finds where the answer to a request belongs.

    Only what `served` is told of is remembered: behind a stored answer stands a request that held no secret. Parameters
    of a query may hold one, so that a request with any is read anew each time, and so is a body that was changed.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: OrderedDict[_Asked, Place] = OrderedDict()
        self._size = 0

    def of(self, exchange: Exchange) -> Place:
        """Return the place of a request on a pipeline route. Raises NotCacheable where it has none."""
        asked = self._asked(exchange)
        known = self._known.get(asked) if asked is not None else None
        if known is not None and asked is not None:
            self._known.move_to_end(asked)
            return known
        assert exchange.route is not None
        return place_of(exchange.request, exchange.route, self._rules)

    def served(self, exchange: Exchange, place: Place) -> None:
        """Remember the place of a request that was served a stored answer."""
        asked = self._asked(exchange)
        if asked is None or asked in self._known or _size(asked, place) > LARGEST // 8:
            return
        prompt = partial(_prompt, place.request)  # without the document, which is several times as large
        self._known[asked] = dataclasses.replace(place, prompt=prompt)
        self._size += _size(asked, place)
        while self._size > LARGEST:
            self._size -= _size(*self._known.popitem(last=False))

    def _asked(self, exchange: Exchange) -> _Asked | None:
        request = exchange.request
        body = request.body.raw
        if request.query or body is not exchange.received:
            return None
        fields = tuple(key_fields(request.headers, self._rules.key_headers))
        return exchange.route, request.method, request.path, fields, body


def _size(asked: _Asked, place: Place) -> int:
    return len(asked[4]) + len(place.request) + _OVERHEAD


def _prompt(canonical: bytes) -> bytes:
    return prompt_hash(parse(canonical).value)
