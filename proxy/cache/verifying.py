"""Asks for stored answers again, to learn how often the model server says the same."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from proxy.cache.asked import Asked
from proxy.cache.identities import Identities
from proxy.core.errors import ProxyError
from proxy.core.http import Exchange, get_header
from proxy.store.base import DEFAULT_RUN, CacheStore, EntryKey, StoredResponse
from proxy.wire.compare import differences
from proxy.wire.complete import is_complete
from proxy.wire.encoding import decode

BACKLOG = 64 * 1024 * 1024
"""Bytes of requests and answers that may wait to be asked again. What comes on top is not verified, and counted: the
rate stays that of a random share."""
_LEAST = 4096
"""Bytes that one takes, whatever is in it."""


@dataclass(frozen=True, slots=True)
class _Check:
    """An answer that was served, and the request to ask again."""

    asked: Asked
    fork: Exchange
    at: EntryKey
    stored: StoredResponse

    @property
    def size(self) -> int:
        """Bytes, about."""
        return _LEAST + len(self.stored.body) + len(self.fork.request.body.raw)


class Verifier:
    """Asks again for a share of the hits, one after the other so that clients go first. Nothing of it is stored.

    An answer that another model server may have given says nothing about this one, and counts neither way.

    Args:
        fraction: the share, from 0 to 1.
    """

    def __init__(self, store: CacheStore, identities: Identities, fraction: float) -> None:
        self._store = store
        self._identities = identities
        self._fraction = fraction
        self._checks: asyncio.Queue[_Check] = asyncio.Queue()
        self._bytes = 0  # of what waits
        self._task: asyncio.Task[None] | None = None

    def served(self, asked: Asked, at: EntryKey, stored: StoredResponse) -> None:
        """Note a hit, which may be asked for again."""
        if random.random() >= self._fraction:  # noqa: S311 - a sample, and no secret
            return
        check = _Check(asked, asked.exchange.fork(), at, stored)
        if self._bytes + check.size > BACKLOG:
            self._store.lost("checks_dropped")
            return
        self._bytes += check.size
        self._checks.put_nowait(check)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._check_for_ever())

    async def aclose(self) -> None:
        """Leave what was not asked again yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _check_for_ever(self) -> None:
        while True:
            check = await self._checks.get()
            self._bytes -= check.size
            try:
                await self._check(check)
            except (ProxyError, ValueError):
                pass  # no answer to compare with: it counts neither way
            finally:
                await check.fork.aclose()

    async def _check(self, check: _Check) -> None:
        response = await check.asked.call_next(check.fork)
        # Comparing needs the whole answer, and no client waits for it.
        body = decode(await response.read(), get_header(response.headers, b"content-encoding"))
        document = check.fork.request.body.json
        streamed = document.get("stream") is True
        route = check.asked.place.route
        if response.status != 200 or body is None or not is_complete(route, document, body, streamed=streamed):
            return
        witness = check.asked.witness
        if not await self._identities.confirmed(witness.identity, witness.headers, witness.model):
            return
        differs = differences(route, check.at.shape, check.stored.body, body)
        self._store.verified(
            check.asked.exchange.run or DEFAULT_RUN, check.at.key, ", ".join(differs) if differs else None
        )
