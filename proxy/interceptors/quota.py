"""How many bodies an interceptor still keeps."""

from __future__ import annotations


class Quota:
    """Grants `limit` things, one after the other; None grants without end."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit

    def take(self) -> bool:
        """Return whether there was one left, and count it."""
        if self._left is None:
            return True
        granted = self._left > 0
        self._left -= granted
        return granted
