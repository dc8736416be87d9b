"""Watches for the client's leaving while its request is being answered."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any

from proxy.edge.messages import Message, Receive


class ClientWatch:
    """Cancels the task it is entered in as soon as the client leaves, and keeps that cancellation to itself.

    `stop` it before anything is awaited behind the last byte: a server reports its own finished answer as a
    disconnect too.

    It is no task: a request costs less than half without one more. `receive` is stepped by hand, so it may wait for
    asyncio's futures, and for nothing that has to know its task. What is answered within one turn of the event loop,
    as hits are, is not watched at all.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._client_gone = False
        self._asking: Generator[Any, None, Message] | None = None
        self._waited: asyncio.Future[Any] | None = None

    def __enter__(self) -> ClientWatch:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._beginning = asyncio.get_running_loop().call_soon(self._step)
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
        self._beginning.cancel()
        waited, self._waited = self._waited, None
        if waited is not None:
            waited.remove_done_callback(self._step)
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.close()

    def _step(self, waited: asyncio.Future[Any] | None = None) -> None:
        """Take the server's messages until there is none, or the client has left."""
        while not self._client_gone:
            if self._asking is None:
                self._asking = self._receive().__await__()
            try:
                self._waited = next(self._asking)
            except StopIteration as said:
                self._asking = self._waited = None
                self._client_gone = said.value["type"] == "http.disconnect"
            else:
                self._waited._asyncio_future_blocking = False  # noqa: SLF001 - how a task says that it waits
                self._waited.add_done_callback(self._step)
                return
        self._task.cancel()
