"""A server that somebody needs for a while, and that is started for it."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import Self


class Service(ABC):
    """A server that runs while the `with` block is open. `url` is its origin, empty before."""

    def __init__(self) -> None:
        self.url = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # undoes a start that fails halfway
            self.url = self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @abstractmethod
    def _start(self, stack: ExitStack) -> str:
        """Starts the server, for as long as `stack` is open, and returns its origin once it answers."""
