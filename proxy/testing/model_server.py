"""A scriptable model server on real sockets, in a thread of its own."""

import asyncio
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from proxy.testing.errors import ApiError
from proxy.testing.http_server import Connection, ConnectionLimits, ServerContext
from proxy.testing.model import Model, ModelOptions
from proxy.testing.recording import RecordedRequest, Recorder
from proxy.testing.replies import Fault, Reply
from proxy.testing.routes.table import answer as default_answer
from proxy.wire.identity import PATHS

logger = logging.getLogger(__name__)

Rule = Reply | Callable[[RecordedRequest], Reply | None]
"""A standing answer, or a function that gives one (None = the default answer). It runs in the server's thread."""

START_TIMEOUT = 10.0

NEW_LOOP: Callable[[], asyncio.AbstractEventLoop] | None
try:
    import uvloop
except ImportError:  # only an accelerator
    NEW_LOOP = None
else:
    NEW_LOOP = uvloop.new_event_loop


class ModelServer:
    """Answers like vLLM unless told otherwise, and remembers every request.

    Use it with `with`, `async with`, or start() and stop(). The port is bound once, when the server starts, so there is
    no race; started again, the server takes the port it had. All methods may be called from any thread.
    """

    def __init__(
        self,
        model: str = "mock-model",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        record: bool = True,
        max_requests_per_connection: int | None = None,
        idle_timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Keyword arguments beyond those named are the fields of ModelOptions (latency, answer, ...).

        With `record=False` requests are counted but not kept, for benchmarks. The two connection limits are those of
        ConnectionLimits.
        """
        self.host = host
        self.port = port
        """The port listened on; 0 before the first start unless one was given."""
        self.limits = ConnectionLimits(max_requests_per_connection, idle_timeout)
        self.model = Model(ModelOptions(model=model, **options))
        self._recorder = Recorder(record)
        self._queue: deque[Reply] = deque()
        self._rules: dict[str, Rule] = {}
        self._context = self._new_context()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen and serve; returns when connections are accepted. Raises OSError if the port is taken."""
        if self._thread is not None:
            raise RuntimeError(f"the model server already runs at {self.url}; stop() it first")
        listener = socket.create_server((self.host, self.port), backlog=2048)
        self.port = listener.getsockname()[1]
        self.model.started_at = time.time()
        self._context = self._new_context()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="model-server", daemon=True)
        self._thread.start()
        if not ready.wait(START_TIMEOUT):
            raise RuntimeError(f"the model server did not start within {START_TIMEOUT} s")
        return self

    def stop(self) -> None:
        """Drop all connections, close the port and wait for the thread; does nothing if not running."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self.stop)

    # -- what a test looks at ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The origin, `http://127.0.0.1:PORT`, without `/v1`."""
        return f"http://{self.host}:{self.port}"

    @property
    def options(self) -> ModelOptions:
        """The model's behavior; assign to its fields to change it for the next request."""
        return self.model.options

    @property
    def requests(self) -> list[RecordedRequest]:
        """A copy of the list of requests that arrived completely, in order of arrival."""
        return self._recorder.snapshot()

    @property
    def generation_requests(self) -> list[RecordedRequest]:
        """Those of `requests` that are a POST to a route that generates text."""
        return [request for request in self.requests if request.is_generation]

    @property
    def incomplete_requests(self) -> list[RecordedRequest]:
        """Requests whose client left after the headers and before the end of the body."""
        return self._recorder.incomplete()

    @property
    def requests_total(self) -> int:
        """How many requests arrived since the last clear(), also with `record=False`."""
        return self._recorder.total

    @property
    def connections_open(self) -> int:
        """Connections open now."""
        return len(self._context.connections)

    @property
    def connections_total(self) -> int:
        """Connections accepted since the server was started."""
        return self._context.connections_total

    @property
    def pending_replies(self) -> int:
        """Enqueued replies that no request has taken yet."""
        return len(self._queue)

    @property
    def max_requests_per_connection(self) -> int | None:
        """Requests answered on one connection before it is closed with an announcement; None = no limit."""
        return self.limits.max_requests

    @max_requests_per_connection.setter
    def max_requests_per_connection(self, value: int | None) -> None:
        self.limits.max_requests = value

    @property
    def idle_timeout(self) -> float | None:
        """Seconds after which an idle connection is closed unannounced; None = never."""
        return self.limits.idle_timeout

    @idle_timeout.setter
    def idle_timeout(self, value: float | None) -> None:
        self.limits.idle_timeout = value

    def requests_to(self, path: str) -> list[RecordedRequest]:
        """Those of `requests` with this path, whatever the method and query."""
        return [request for request in self.requests if request.path == path]

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> list[RecordedRequest]:
        """Block until at least `count` requests have arrived and return them all.

        Raises TimeoutError after `timeout` seconds, naming those that came. On an event loop that the requests depend
        on, await `requests_arrived` instead.
        """
        return self._recorder.wait_for(count, timeout)

    async def requests_arrived(self, count: int, timeout: float = 5.0) -> list[RecordedRequest]:
        """`wait_for_requests` that does not block the event loop."""
        return await asyncio.to_thread(self.wait_for_requests, count, timeout)

    def clear(self) -> None:
        """Forget the recorded requests; scripted replies stay."""
        self._recorder.clear()

    # -- what a test scripts -------------------------------------------------------------------------------------------

    def enqueue(self, *replies: Reply) -> None:
        """The next requests, whatever their path, get these replies, one each; then the rules and defaults hold.

        A GET that asks what server this is (`/v1/models`, `/props`, `/metrics`, …) uses none of them up: a sidecar asks
        when it likes. `on` scripts those.
        """
        self._queue.extend(replies)

    def on(self, path: str, rule: Rule | None) -> None:
        """Answer every request to `path` (without query) by this rule; None takes the rule away."""
        if rule is None:
            self._rules.pop(path, None)
        else:
            self._rules[path] = rule

    # -- the server's thread -------------------------------------------------------------------------------------------

    def _new_context(self) -> ServerContext:
        return ServerContext(self._decide, self._decide_early, self._recorder, self.limits)

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=NEW_LOOP) as runner:
            runner.run(self._serve(listener, ready))

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        context = self._context
        server = await self._loop.create_server(lambda: Connection(context), sock=listener)
        ready.set()
        await self._stopping.wait()
        server.close()
        await asyncio.gather(*(connection.shut_down() for connection in context.connections))

    def _decide(self, request: RecordedRequest) -> Reply:
        if self._queue and not _asks_who(request):
            return self._queue.popleft()
        rule = self._rules.get(request.path)
        if isinstance(rule, Reply):
            return rule
        if rule is not None:
            try:
                scripted = rule(request)
            except Exception as error:  # a rule that raises is the test's bug: show it instead of hanging
                logger.exception("the rule for %s failed", request.path)
                return ApiError(500, f"the rule for {request.path} raised {type(error).__name__}: {error}").reply()
            if scripted is not None:
                return scripted
        return default_answer(self.model, request, self._context.busy)

    def _decide_early(self, request: RecordedRequest) -> Reply | None:
        if self._queue and not _asks_who(request):
            return self._queue.popleft() if self._queue[0].fault is Fault.ANSWER_BEFORE_BODY else None
        rule = self._rules.get(request.path) if self._rules else None
        return rule if isinstance(rule, Reply) and rule.fault is Fault.ANSWER_BEFORE_BODY else None


def _asks_who(request: RecordedRequest) -> bool:
    return request.method == "GET" and request.path.encode() in PATHS
