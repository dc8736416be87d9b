import asyncio
from collections import Counter

import pytest
from blockbuster import blockbuster_ctx

from proxy.app import create_app
from proxy.core.errors import InvalidRun
from proxy.core.facts import CacheFacts
from proxy.core.http import Payload, Response
from proxy.core.pipeline import Layer, Stage, compose
from proxy.core.stream import ByteStream
from proxy.edge.asgi import Edge, EdgeOptions, send_error
from proxy.edge.gate import Gate
from proxy.settings import Settings
from proxy.testing import ASGIExchange, lifespan

CHAT = "/v1/chat/completions"
EVENTS = [(b"content-type", b"text/event-stream")]


def streaming(*chunks, headers=EVENTS, status=200):
    """A terminal whose answer is a stream; an exception among the chunks is raised at its place."""

    async def terminal(exchange):
        async def source():
            for chunk in chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        return Response(status, list(headers), ByteStream(source()))

    return terminal


class House:
    """An edge around a terminal, with the counters that a house keeps."""

    def __init__(self, terminal, *stages, relay_only=False) -> None:
        self.dropped_taps = 0
        self.failures: Counter[str] = Counter()
        pipeline = compose(stages, terminal, on_failure=lambda name: self.failures.update([name]))
        options = EdgeOptions(1000, relay_only, "f" * 16)
        gate = Gate(None, anonymous=True, allowed_hosts=())
        self.edge = Edge(pipeline, terminal, gate, options, self._drop)

    def _drop(self) -> None:
        self.dropped_taps += 1

    async def ask(self, target=CHAT, body=b"{}", method="POST", run=None):
        async def app(scope, receive, send):
            await self.edge(scope, receive, send, path=scope["raw_path"], run=run)

        async with ASGIExchange(app, method, target, [], [body]) as exchange:
            start = await exchange.start()
            return start, await exchange.read(), exchange.complete


def stage(interceptor, layer=Layer.TRANSFORM):
    return Stage("the_name", layer, 0, interceptor)


class BrokenTap:
    def __init__(self, at):
        self.at, self.seen = at, []

    def feed(self, chunk):
        self.seen.append(chunk)
        if self.at == "feed":
            raise RuntimeError("tap")

    def done(self, outcome):
        if self.at == "done":
            raise RuntimeError("tap")


@pytest.mark.parametrize("at", ["feed", "done"])
async def test_tap_that_raises_is_dropped_and_counted_and_the_stream_goes_on(at):
    tap = BrokenTap(at)

    async def observe(exchange, call_next):
        response = await call_next(exchange)
        response.tap(tap)
        return response

    house = House(streaming(b"a", b"b"), stage(observe, Layer.OBSERVE))
    _, body, complete = await house.ask()
    assert (body, complete, house.dropped_taps) == (b"ab", True, 1)
    assert tap.seen == ([b"a"] if at == "feed" else [b"a", b"b"])


@pytest.mark.parametrize("asks_first", [True, False])
async def test_transform_that_raises_is_a_500_that_names_it(asks_first):
    async def transform(exchange, call_next):
        if asks_first:
            await call_next(exchange)
        raise RuntimeError("bug")

    house = House(streaming(b"a"), stage(transform))
    start, body, _ = await house.ask()
    assert (start.status, start.header("x-should-retry"), house.failures) == (500, "false", Counter(the_name=1))
    assert b"interceptor_failed" in body
    assert b"the_name" in body


async def test_transform_that_raises_mid_stream_ends_it_with_an_error_event():
    class Broken:
        def feed(self, chunk):
            raise RuntimeError("bug")

        def end(self):
            return b""

    async def transform(exchange, call_next):
        response = await call_next(exchange)
        response.body.map(Broken(), name="the_name")
        return response

    start, body, complete = await House(streaming(b"a"), stage(transform)).ask()
    assert (start.status, complete) == (200, True)
    assert b"interceptor_failed" in body
    assert b"the_name" in body


async def test_mapped_stream_has_no_length():
    class Upper:
        def feed(self, chunk):
            return chunk.upper() * 2

        def end(self):
            return b"!"

    async def transform(exchange, call_next):
        response = await call_next(exchange)
        response.body.map(Upper(), name="upper")
        return response

    start, body, _ = await House(streaming(b"a", headers=[(b"content-length", b"1")]), stage(transform)).ask()
    assert (start.header("content-length"), body) == (None, b"AA!")


@pytest.mark.parametrize("target", [CHAT, "/v1/other"])
async def test_bug_in_the_sidecar_is_a_500(target):
    async def terminal(exchange):
        raise RuntimeError("bug")

    start, body, _ = await House(terminal).ask(target)
    assert start.status == 500
    assert b"internal_error" in body


async def test_bug_in_a_stream_is_an_error_event():
    _, body, complete = await House(streaming(b"data: 1\n\n", RuntimeError("bug"))).ask()
    assert complete
    assert b"internal_error" in body


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"application/json")],
        [],
        [*EVENTS, (b"content-length", b"100")],
        [*EVENTS, (b"content-encoding", b"gzip")],
    ],
)
async def test_what_takes_no_event_is_hung_up(headers):
    _, body, complete = await House(streaming(b"half", RuntimeError("bug"), headers=headers)).ask("/v1/other")
    assert (body, complete) == (b"half", False)


@pytest.mark.parametrize("status", [204, 304])
async def test_bodiless_answers_tell_no_length(status):
    async def plain(exchange):
        return Response(status, [], Payload(b""))

    for terminal in (plain, streaming(status=status, headers=[(b"content-length", b"5")])):
        start, body, complete = await House(terminal).ask()
        assert (start.status, start.header("content-length"), body, complete) == (status, None, b"", True)


async def test_sample_and_run_are_told():
    async def terminal(exchange):
        exchange.put(CacheFacts("hit", "k", 3))
        return Response(200, [], Payload(b"x"))

    start, _, _ = await House(terminal).ask(run="r")
    said = {name: start.header(f"x-evalside-{name}") for name in ("cache", "cache-key", "sample", "run", "pipeline")}
    assert said == {"cache": "hit", "cache-key": "k", "sample": "3", "run": "r", "pipeline": "f" * 16}


async def test_relay_only_knows_no_routes():
    start, _, _ = await House(streaming(b"x"), relay_only=True).ask()
    assert start.header("x-evalside-pipeline") is None


async def test_client_that_leaves_with_half_a_request_gets_and_costs_nothing():
    asked = []

    async def terminal(exchange):
        asked.append(exchange)

    house = House(terminal)

    async def app(scope, receive, send):
        await house.edge(scope, receive, send, path=b"/v1/x")

    arrived = asyncio.Event()

    async def half():
        yield b"a"
        arrived.set()
        await asyncio.Event().wait()

    async with ASGIExchange(app, "POST", "/v1/x", [], half()) as exchange:
        await arrived.wait()
        exchange.disconnect()
    assert asked == []


async def test_client_that_leaves_mid_stream_closes_the_source_once():
    closed, begun = [], asyncio.Event()

    async def terminal(exchange):
        async def source():
            yield b"a"
            begun.set()
            await asyncio.Event().wait()

        async def close():
            closed.append(True)

        stream = ByteStream(source(), close)
        exchange.owns(stream)
        return Response(200, [], stream)

    house = House(terminal)

    async def app(scope, receive, send):
        await house.edge(scope, receive, send, path=b"/v1/x")

    async with ASGIExchange(app, "POST", "/v1/x", [], [b""]) as exchange:
        await begun.wait()
        exchange.disconnect()
        await exchange.wait_finished()
        assert closed == [True]


async def test_servers_own_fields_are_kept_off_relayed_answers_only():
    class Cycle:
        """What uvicorn's request cycle looks like to an app."""

        def __init__(self):
            self.default_headers = [(b"date", b"now"), (b"server", b"uvicorn")]

        async def send(self, message):
            pass

    async def receive():
        if requests:
            return requests.pop()
        return await asyncio.Future()

    for headers, left in (([(b"Date", b"then")], []), ([], [(b"date", b"now")])):
        cycle, requests = Cycle(), [{"type": "http.request", "body": b""}]
        scope = {"type": "http", "method": "GET", "headers": [], "query_string": b""}
        await House(streaming(b"x", headers=headers)).edge(scope, receive, cycle.send, path=b"/x")
        assert cycle.default_headers == left
    cycle = Cycle()
    await send_error(cycle.send, InvalidRun("no"))
    assert len(cycle.default_headers) == 2


READS = {"address", "get", "identities", "others", "run"}
"""What of the store reads inline."""


async def test_nothing_blocks_the_loop_but_the_read_of_the_store(model_server, tmp_path):
    server = model_server()
    app = create_app(Settings(upstream={"url": server.url}, store=f"sqlite:///{tmp_path}/a.db", log_level="error"))
    body = b'{"model":"m","temperature":0,"stream":%s,"messages":[{"role":"user","content":"x"}]}'
    async with lifespan(app):
        with blockbuster_ctx() as blockbuster:
            for name in [name for name in blockbuster.functions if name.startswith("sqlite3.")]:
                blockbuster.functions[name].can_block_in("proxy/store/sqlite.py", READS)
            for stream in (b"true", b"false"):
                for cache in ("miss", "hit"):
                    async with ASGIExchange(app, "POST", CHAT, [], [body % stream]) as exchange:
                        start = await exchange.start()
                        assert (start.status, start.header("x-evalside-cache")) == (200, cache)
                        await exchange.read()


class Stopped:
    """A client of an edge whose server cancels the request, as it does at shutdown."""

    def __init__(self, terminal) -> None:
        self.edge = House(terminal).edge
        self.sent: list[dict] = []
        self.waiting = asyncio.Event()
        self._body = [{"type": "http.request", "body": b"{}"}]

    async def receive(self):
        if self._body:
            return self._body.pop()
        self.waiting.set()
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def send(self, message) -> None:
        self.sent.append(message)

    async def run(self) -> None:
        scope = {
            "type": "http", "method": "POST", "headers": [], "query_string": b"", "server": ("127.0.0.1", 1),
        }  # fmt: skip
        task = asyncio.create_task(self.edge(scope, self.receive, self.send, path=CHAT.encode()))
        await self.waiting.wait()
        await asyncio.sleep(0)
        task.cancel()
        await task


async def test_a_stopped_server_answers_what_it_had_not_begun_with_a_503():
    async def never(exchange):
        await asyncio.Event().wait()

    client = Stopped(never)
    await client.run()
    assert client.sent[0]["status"] == 503
    assert b'"shutting_down"' in client.sent[1]["body"]


async def test_a_stopped_server_ends_a_stream_with_an_error_event():
    async def streams(exchange):
        async def source():
            yield b"data: 1\n\n"
            await asyncio.Event().wait()

        return Response(200, list(EVENTS), ByteStream(source()))

    client = Stopped(streams)
    await client.run()
    assert [message.get("body") for message in client.sent[1:2]] == [b"data: 1\n\n"]
    assert b'"shutting_down"' in client.sent[-1]["body"]
