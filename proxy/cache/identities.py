"""What the cache asks of whoever knows which model server is behind the URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from proxy.core.http import Headers
from proxy.wire.identity import Identity, ServerFacts


class Identities(Protocol):
    """Knows the model server that answers now."""

    async def current(self, headers: Headers, model: str | None) -> Identity | None:
        """Return who would answer a request with these headers for this model; None where that cannot be known now."""

    async def server(self, headers: Headers) -> ServerFacts | None:
        """Return what the server tells about itself, whatever its identity is; None where it cannot be known now."""

    async def confirmed(self, before: Identity, headers: Headers, model: str | None) -> bool:
        """Return whether a look that began after this call saw the same model server."""

    @property
    def generates(self) -> bool:
        """Whether finding out takes an answer of the model."""

    def knows(self, name: str) -> bool:
        """Return whether an identity on record may be of this server."""

    def doubt(self) -> None:
        """Have the next `current` look again."""

    def hurry(self) -> None:
        """Have the looks that `confirmed` waits for begin at once: a client waits for one."""


@dataclass(frozen=True, slots=True)
class Always:
    """The same model server for ever, or none at all: for a replay without one, and for tests."""

    identity: Identity | None = None
    facts: ServerFacts | None = None

    async def server(self, headers: Headers) -> ServerFacts | None:
        """Return what was told."""
        return self.facts

    async def current(self, headers: Headers, model: str | None) -> Identity | None:
        """Return it."""
        return self.identity

    async def confirmed(self, before: Identity, headers: Headers, model: str | None) -> bool:
        """Return whether `before` is it."""
        return self.identity is not None and self.identity.name == before.name

    @property
    def generates(self) -> bool:
        """Return False: it is known."""
        return False

    def knows(self, name: str) -> bool:
        """Return True: a record without a server is nobody else's."""
        return True

    def doubt(self) -> None:
        """Change nothing."""

    def hurry(self) -> None:
        """Change nothing."""
