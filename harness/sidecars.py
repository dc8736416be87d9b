"""The sidecars of a run: one for each configuration, started when it is first needed."""

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.api import ApiEndpoint
from harness.proxy_process import DEFAULT_STORE, Sidecar, proxy_config


class Sidecars:
    """Starts sidecars while the `with` block is open, and stops them all at its end.

    Their logs are `sidecar.log`, `sidecar-2.log`, … in `folder`. They inherit the descriptors `held`.
    """

    def __init__(self, folder: Path, held: Sequence[int] = ()) -> None:
        self._folder = folder
        self.held = held
        self._running: dict[str, Sidecar] = {}
        self._stack = ExitStack()
        # Guards the two above: tasks that run side by side start theirs from threads.
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # one that is starting is waited for, or nobody would stop it
            self._stack.close()

    def url(self, endpoint: ApiEndpoint, proxy: Mapping[str, Any] | None = None) -> str:
        """The origin of the sidecar in front of an endpoint. Blocks while it starts; raises what Sidecar raises."""
        key = json.dumps(proxy_config(endpoint, DEFAULT_STORE, proxy), sort_keys=True, default=str)
        with self._lock:
            if key not in self._running:
                number = len(self._running) + 1
                log_path = self._folder / ("sidecar.log" if number == 1 else f"sidecar-{number}.log")
                sidecar = Sidecar(endpoint, log_path=log_path, proxy=proxy, held=self.held)
                self._running[key] = self._stack.enter_context(sidecar)
            return self._running[key].url

    def check(self) -> None:
        """Raises StartError if one of them is gone."""
        for sidecar in self._running.values():
            sidecar.check()
