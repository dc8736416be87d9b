"""A watch for each set of credentials: behind a gateway, another key may lead to another model server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from proxy.core.http import Headers
from proxy.upstream.identity import IdentityWatch
from proxy.wire.identity import Identity, ServerFacts, is_credential

MOST = 64
"""Sets of credentials that are watched for. The one that was asked for longest ago makes room."""


def _none(name: bytes) -> bool:
    return False


class Watches:
    """Knows the model server that each client reaches.

    What a server says of itself is never taken over from one client to another. Where they reach the same one its facts
    are the same, and so is the identity: they share answers.

    Args:
        make: returns a new watch.
        ignored: says of a credential, by its name, that it makes no difference to who answers.
    """

    def __init__(self, make: Callable[[], IdentityWatch], *, ignored: Callable[[bytes], bool] = _none) -> None:
        self._make = make
        self._ignored = ignored
        self._first = make()  # of those who send none
        self._others: dict[bytes, IdentityWatch] = {}  # the latest last
        self._closing: set[asyncio.Task[None]] = set()

    async def current(self, headers: Headers, model: str | None) -> Identity | None:
        """Return the identity to look up under, None where it cannot be known now."""
        return await self._of(headers).current(headers, model)

    async def server(self, headers: Headers) -> ServerFacts | None:
        """Return what the server tells about itself, None where it cannot be known now."""
        return await self._of(headers).server(headers)

    async def confirmed(self, before: Identity, headers: Headers, model: str | None) -> bool:
        """Return whether a probe that began after this call gives the identity `before` for the model."""
        return await self._of(headers).confirmed(before, headers, model)

    @property
    def generates(self) -> bool:
        """Whether finding out takes an answer of the model."""
        return self._first.generates

    def knows(self, name: str) -> bool:
        """Return whether an identity on record may be of this server."""
        return self._first.knows(name)

    def doubt(self) -> None:
        """Note that a connection failed, or that the server may be about to change or have changed."""
        for watch in self._all():
            watch.doubt()

    def hurry(self) -> None:
        """Have the probes that `confirmed` waits for begin at once."""
        for watch in self._all():
            watch.hurry()

    def lapse(self) -> None:
        """Note that the server ended an idle connection."""
        for watch in self._all():
            watch.lapse()

    async def aclose(self) -> None:
        """End the probes in flight."""
        await asyncio.gather(*self._closing, *(watch.aclose() for watch in self._all()))

    def _all(self) -> list[IdentityWatch]:
        return [self._first, *self._others.values()]

    def _of(self, headers: Headers) -> IdentityWatch:
        told = [name + b":" + value for name, value in headers if is_credential(name) and not self._ignored(name)]
        if not told:
            return self._first
        key = hashlib.sha256(b"\n".join(told)).digest()  # no key is kept
        watch = self._others.pop(key, None)
        if watch is None:
            watch = self._make()
            watch.told = self._first.told
            if len(self._others) >= MOST:
                self._retire(self._others.pop(next(iter(self._others))))
        self._others[key] = watch
        return watch

    def _retire(self, watch: IdentityWatch) -> None:
        task = asyncio.get_running_loop().create_task(watch.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
