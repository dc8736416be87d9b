"""Fixtures of every kind of test: model servers, and sidecars in front of them on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import settings as hypothesis_settings

from proxy.app import create_app
from proxy.settings import Settings
from proxy.testing import ModelServer

START_TIMEOUT = 10.0

hypothesis_settings.register_profile("evalside", deadline=None)  # a loaded machine is no finding
hypothesis_settings.load_profile("evalside")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a job in the background has it, and all that it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Sidecar:
    """A sidecar that serves on a free port, in a thread of its own."""

    host: str
    port: int
    app: Any
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def house(self) -> Any:
        return self.app.state.house

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """A raw client connection."""
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def on_loop(self, make: Callable[[], Any]) -> Any:
        """The result of a coroutine that runs on the sidecar's own loop."""

        async def call() -> Any:
            return await make()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)


@pytest.fixture
def model_server() -> Iterator[Callable[..., ModelServer]]:
    """Starts model servers; the arguments are those of ModelServer."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> ModelServer:
            return stack.enter_context(ModelServer(**options))

        yield start


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Callable[..., Sidecar]]:
    """Starts sidecars: `sidecar(server, timeout={...}, interceptors=[...])`, the rest as the settings have it.

    With a namespace, unless the test gives another or None: the server then gets the test's requests and no others.
    """
    with contextlib.ExitStack() as stack:
        count = 0

        def start(server: ModelServer | str, *, root_path: str = "", **options: Any) -> Sidecar:
            nonlocal count
            count += 1
            url = server if isinstance(server, str) else server.url
            upstream = {"url": url, "namespace": "test", **options.pop("upstream", {})}
            store = options.pop("store", f"sqlite:///{tmp_path}/sidecar-{count}.db")
            settings = Settings(upstream=upstream, store=store, log_level="error", **options)
            return stack.enter_context(serving(settings, root_path))

        yield start


@contextlib.contextmanager
def serving(settings: Settings, root_path: str) -> Iterator[Sidecar]:
    app = create_app(settings)
    config = uvicorn.Config(app, log_config=None, access_log=False, root_path=root_path, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    host, port = listener.getsockname()
    loops: list[asyncio.AbstractEventLoop] = []
    ready = threading.Event()

    async def startup_reported() -> None:
        loops.append(asyncio.get_running_loop())
        await server._serve(sockets=[listener])

    started = server.startup

    async def startup(sockets: Any = None) -> None:
        await started(sockets=sockets)
        ready.set()

    server.startup = startup  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        thread = threading.Thread(target=runner.run, args=(startup_reported(),), name="sidecar", daemon=True)
        thread.start()
        try:
            assert ready.wait(START_TIMEOUT), "the sidecar did not start"
            yield Sidecar(host, port, app, loops[0])
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "the sidecar did not stop"
            listener.close()
