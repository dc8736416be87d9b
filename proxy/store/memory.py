"""A store that forgets at exit: for tests of interceptors."""

from __future__ import annotations

from proxy.store.base import EntryKey, ExchangeRecord, Losses, StoredResponse


class MemoryStore:
    """A `ResponseStore` and an `ExchangeLog` in this process's memory."""

    def __init__(self) -> None:
        self._responses: dict[EntryKey, StoredResponse] = {}
        self.records: list[ExchangeRecord] = []
        self.losses = Losses()

    async def get(self, at: EntryKey, /) -> StoredResponse | None:
        """Return the answer kept there, None where there is none."""
        return self._responses.get(at)

    def put(self, at: EntryKey, response: StoredResponse, /) -> None:
        """Keep an answer; what is there already stays."""
        if at.sample is None:
            taken = [kept.sample for kept in self._responses if kept[:2] == at[:2] and kept.sample is not None]
            at = at._replace(sample=max(taken, default=-1) + 1)
        self._responses.setdefault(at, response)

    def append(self, record: ExchangeRecord, /) -> None:
        """Keep a record of an exchange."""
        self.records.append(record)

    async def flush(self) -> None:
        """Return at once: nothing is queued."""
