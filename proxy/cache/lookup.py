"""Finds a stored answer, in the shape that is asked for or in one that can be made of another without loss."""

from __future__ import annotations

import dataclasses

from proxy.cache.keeping import Keeper
from proxy.core.http import Payload, Response
from proxy.store.base import CacheStore, EntryKey, StoredResponse
from proxy.wire import routes
from proxy.wire.shape import PLAIN, converted, with_usage

NOTHING = "nothing is stored for this key"
OTHER_SHAPE = "it is stored in another shape only, which cannot be turned into this one without loss"

_TYPES = {True: b"application/json", False: b"text/event-stream"}


class Lookup:
    """Reads answers, those that are about to be kept included."""

    def __init__(self, store: CacheStore, keeper: Keeper) -> None:
        self.store = store
        self._keeper = keeper

    async def find(self, at: EntryKey, route: str, *, usage: bool = False) -> StoredResponse | str:
        """Return the answer in the shape of `at`, or why there is none.

        With `usage`, a stream that is made of another shape shows it, though the model server was not asked for it.
        """
        await self._keeper.replaced(at)
        stored = await self.store.get(at) or await self._keeper.pending(at)
        if stored is not None:
            return stored
        if route not in routes.GENERATION:
            return NOTHING
        reason = NOTHING
        want = with_usage(at.shape) if usage else at.shape
        for shape, other in await self.store.others(at):
            body = converted(route, other.body, have=shape, want=want)
            if body is not None:
                return _of_type(dataclasses.replace(other, body=body), _TYPES[at.shape == PLAIN])
            reason = OTHER_SHAPE
        return reason


def _of_type(stored: StoredResponse, content_type: bytes) -> StoredResponse:
    headers = [item for item in stored.headers if item[0].lower() != b"content-type"]
    return dataclasses.replace(stored, headers=[*headers, (b"content-type", content_type)])


def as_response(stored: StoredResponse) -> Response:
    """Return what the client gets of a stored answer."""
    return Response(stored.status, list(stored.headers), Payload(stored.body))
