"""Watches for the client's leaving while its request is being answered."""

from __future__ import annotations

import asyncio
from types import TracebackType

from proxy.edge.messages import Receive


class ClientWatch:
    """Cancels the task it is entered in as soon as the client leaves, and keeps that cancellation to itself.

    `stop` it before anything is awaited behind the last byte: a server reports its own finished answer as a
    disconnect too.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._client_gone = False

    def __enter__(self) -> ClientWatch:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watcher = asyncio.get_running_loop().create_task(self._watch())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.stop()
        if not self._client_gone:
            return False
        # Taken back whatever came of it; if others cancelled the task too, theirs stands.
        return self._task.uncancel() == 0 and kind is asyncio.CancelledError

    def stop(self) -> None:
        """Watch no longer."""
        self._watcher.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._client_gone = True
        self._task.cancel()
