"""The requests that all tasks of a run may have in flight together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType


class Gate:
    """Holds `places`. `async with gate` takes one of them for as long as the block is open."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._free = asyncio.Semaphore(places)
        # Held by whoever collects several: two that had half of theirs each would wait for each other forever.
        self._collecting = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free.release()

    @asynccontextmanager
    async def several(self, wanted: int) -> AsyncIterator[int]:
        """Takes as many at once, but no more than there are; says how many."""
        granted = min(wanted, self.places)
        taken = 0
        try:
            async with self._collecting:
                while taken < granted:
                    await self._free.acquire()
                    taken += 1
            yield granted
        finally:
            for _ in range(taken):
                self._free.release()
