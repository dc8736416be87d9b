"""The model server in the foreground, for the command line."""

import signal
import sys
import threading
from types import FrameType

from proxy.testing.model_server import ModelServer


def serve(
    port: int = 8000,
    host: str = "127.0.0.1",
    model: str = "mock-model",
    latency: float = 0.0,
    tokens_per_second: float | None = None,
    api_key: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; prints one line when ready. Port 0 picks a free one.

    Must be called from the main thread. Raises SystemExit with a message if the port cannot be bound.
    """
    server = ModelServer(
        model,
        host=host,
        port=port,
        record=False,  # it may run for days
        latency=latency,
        tokens_per_second=tokens_per_second,
        api_key=api_key,
    )
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        try:
            server.start()
        except OSError as error:
            raise SystemExit(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from None
        sys.stdout.write(f"mock model server on {server.url}/v1 (model {model}); Ctrl-C stops it\n")
        sys.stdout.flush()
        stop.wait()
    finally:
        server.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)
