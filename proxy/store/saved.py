"""How much of requests and answers an export holds; what is reused has nothing to do with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Saved:
    """The first so many of each; None for all."""

    requests: int | None = None
    responses: int | None = None

    def request(self, number: int) -> bool:
        """Return whether the request of pair `number`, from 0, is held."""
        return self.requests is None or number < self.requests

    def response(self, number: int) -> bool:
        """Return whether its answer is."""
        return self.responses is None or number < self.responses


ALL = Saved()
