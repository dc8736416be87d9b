"""What the sidecar relies on in an interceptor."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from proxy.cache.identities import Always
from proxy.core.errors import UpstreamUnreachable
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.redact import Redactor
from proxy.core.stream import ByteStream, Outcome
from proxy.interceptors.base import ModelNames, Plugin, Services
from proxy.store.memory import MemoryStore
from proxy.wire.identity import Identity

REQUEST = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "stream": true}'
EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)

ANSWER = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}'


class _EndsSeen:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def feed(self, chunk: bytes, /) -> None:
        """See a chunk."""

    def done(self, outcome: Outcome, /) -> None:
        self.outcomes.append(outcome)


class InterceptorContract:
    """What the sidecar relies on in an interceptor and its `Plugin`."""

    plugin: ClassVar[Plugin[Any]]
    options: ClassVar[dict[str, Any]] = {}
    """A valid configuration."""
    observer: ClassVar[bool] = False
    """Whether it leaves requests and answers alone, byte for byte."""
    buffers: ClassVar[bool] = False
    """Whether it documents that it reads streams to their end before it passes them on."""
    request: ClassVar[bytes] = REQUEST
    route: ClassVar[str] = "chat"

    def services(self) -> Services:
        """Return what the interceptor is built with."""
        store = MemoryStore()
        return Services(
            lambda folder: store, store, store, Always(Identity("http://model/v1")), ModelNames(), Redactor()
        )

    def exchange(self) -> Exchange:
        """Return a request as it comes in."""
        headers = [(b"host", b"x"), (b"content-type", b"application/json")]
        request = Request("POST", b"/v1/chat/completions", b"", headers, Payload(self.request))
        return Exchange(request, route=self.route, run=None)

    async def ask(self, answered: Response) -> tuple[Exchange, Response]:
        """Send one request through the interceptor alone, with `answered` behind it."""
        exchange = self.exchange()

        async def call_next(asked: Exchange) -> Response:
            return answered

        async with self.plugin.build(self.plugin.config.model_validate(self.options), self.services()) as interceptor:
            return exchange, await interceptor(exchange, call_next)

    def test_options_are_frozen(self) -> None:
        assert self.plugin.config.model_config.get("frozen") is True

    def test_unknown_options_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="no_such_option"):
            self.plugin.config.model_validate({**self.options, "no_such_option": 1})

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in self.plugin.config.model_fields.items() if not field.description] == []

    async def test_it_opens_and_closes_twice(self) -> None:
        config = self.plugin.config.model_validate(self.options)
        for _ in range(2):
            async with self.plugin.build(config, self.services()):
                pass

    @pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
    async def test_an_observer_changes_nothing(self, size: int) -> None:
        if not self.observer:
            pytest.skip("it is a transform")
        exchange, response = await self.ask(Response(200, [(b"content-type", b"text/event-stream")], _stream(size)))
        assert exchange.request.body.raw == self.request
        assert exchange.request.headers == exchange.received_headers
        assert isinstance(response.body, ByteStream)
        assert [chunk async for chunk in response.body] == _parts(EVENTS, size)
        await response.aclose(Outcome.COMPLETE)
        assert response.tap_errors == []

    def test_options_can_be_written_down_and_read_again(self) -> None:
        config = self.plugin.config.model_validate(self.options)
        assert self.plugin.config.model_validate_json(config.model_dump_json()) == config

    async def test_a_stream_is_passed_on_before_it_is_whole(self) -> None:
        if self.buffers:
            pytest.skip("it holds answers until they are whole")
        read: list[bytes] = []
        _, response = await self.ask(_events(_stream(7, read=read)))
        assert isinstance(response.body, ByteStream)
        assert read == [], "the interceptor read the stream before it passed it on"
        await response.aclose()

    @pytest.mark.parametrize("size", [1, 2, 7, 64])
    async def test_a_stream_comes_out_the_same_however_it_is_chunked(self, size: int) -> None:
        _, whole = await self.ask(_events(_stream(len(EVENTS))))
        _, parts = await self.ask(_events(_stream(size)))
        assert await parts.read() == await whole.read()

    async def test_no_request_changes_what_becomes_of_the_next(self) -> None:
        config = self.plugin.config.model_validate(self.options)
        sent, got = [], []

        async def call_next(asked: Exchange) -> Response:
            sent.append((asked.request.body.raw, asked.request.headers))
            return Response(200, [(b"content-type", b"application/json")], Payload(ANSWER))

        async with self.plugin.build(config, self.services()) as interceptor:
            for _ in range(2):
                response = await interceptor(self.exchange(), call_next)
                got.append((response.status, response.headers, await response.read()))
                await response.aclose(Outcome.COMPLETE)
        assert sent[1:] in ([], sent[:1]), "one object serves all requests: what belongs to one is in local variables"
        assert got[1] == got[0]

    async def test_the_model_server_is_asked_once(self) -> None:
        asked: list[Exchange] = []

        async def call_next(exchange: Exchange) -> Response:
            asked.append(exchange)
            return Response(200, [(b"content-type", b"application/json")], Payload(ANSWER))

        config = self.plugin.config.model_validate(self.options)
        exchange = self.exchange()
        async with self.plugin.build(config, self.services()) as interceptor:
            response = await interceptor(exchange, call_next)
            await response.aclose(Outcome.COMPLETE)
        assert len(asked) == 1

    @pytest.mark.parametrize("status", [400, 404, 500])
    async def test_an_error_of_the_model_server_passes(self, status: int) -> None:
        refused = b'{"error": {"message": "no", "type": "invalid_request_error"}}'
        _, response = await self.ask(Response(status, [(b"content-type", b"application/json")], Payload(refused)))
        assert (response.status, await response.read()) == (status, refused)

    async def test_our_errors_pass(self) -> None:
        async def call_next(asked: Exchange) -> Response:
            raise UpstreamUnreachable("nobody listens")

        config = self.plugin.config.model_validate(self.options)
        async with self.plugin.build(config, self.services()) as interceptor:
            with pytest.raises(UpstreamUnreachable):
                await interceptor(self.exchange(), call_next)

    @pytest.mark.parametrize("read", [True, False], ids=["complete", "client gone"])
    async def test_what_it_holds_is_closed_and_the_end_is_seen_once(self, read: bool) -> None:
        closed: list[bool] = []
        ends = _EndsSeen()
        answered = Response(200, [(b"content-type", b"text/event-stream")], _stream(7, closed))
        answered.tap(ends)
        _, response = await self.ask(answered)
        if read:
            await response.read()
        await response.aclose(Outcome.COMPLETE if read else Outcome.CLIENT_GONE)
        await response.aclose()
        assert closed == [True]
        assert ends.outcomes == [Outcome.COMPLETE if read else Outcome.CLIENT_GONE]


def _parts(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def _events(body: ByteStream) -> Response:
    return Response(200, [(b"content-type", b"text/event-stream")], body)


def _stream(size: int, closed: list[bool] | None = None, read: list[bytes] | None = None) -> ByteStream:
    async def source() -> AsyncIterator[bytes]:
        for part in _parts(EVENTS, size):
            if read is not None:
                read.append(part)
            yield part

    async def close() -> None:
        if closed is not None:
            closed.append(True)

    return ByteStream(source(), close)
