import asyncio
from collections.abc import Collection, Mapping

import pytest

from proxy.core.errors import UpstreamTimeout
from proxy.core.facts import CacheFacts, UpstreamFacts
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.redact import Redactor
from proxy.core.stream import ByteStream, Outcome
from proxy.interceptors.row import row_of, sent_body
from proxy.store.base import ChangeKind, ExchangeRecord


class Log(list[ExchangeRecord]):
    """An exchange log in memory."""

    def count_changes(self, run: str | None, kinds: Collection[ChangeKind], /) -> None:
        pass

    def observe(self, run: str | None, values: Mapping[str, float], /) -> None:
        pass

    def observed(self, run: str | None, name: str, /) -> int:
        return 0

    async def flush(self) -> None:
        pass


def make(body: bytes = b"{}", query: bytes = b"") -> Exchange:
    return Exchange(Request("POST", b"/v1/chat/completions", query, [], Payload(body)), route="chat", run="r1")


async def answer(exchange: Exchange) -> Response:
    return Response(200, [], Payload(b"fine"))


def test_an_exchange_has_one_row_whoever_asks_for_it():
    exchange, log = make(query=b"api_key=abc&n=1"), Log()
    row = row_of(exchange, log, Redactor())
    assert row_of(exchange, log, Redactor()) is row
    record = row.record
    assert (record.id, record.run, record.method, record.route) == (exchange.id, "r1", "POST", "chat")
    assert record.path == "/v1/chat/completions?api_key=[redacted]&n=1"


async def test_it_is_written_once_at_the_end_of_the_body_and_not_before():
    exchange, log = make(), Log()
    row = row_of(exchange, log, Redactor())

    async def stream(exchange: Exchange) -> Response:
        async def chunks():
            yield b"1"

        exchange.put(CacheFacts("miss", "key", 2))
        exchange.put(UpstreamFacts(7.5))
        return Response(200, [], ByteStream(chunks()))

    async def inner(exchange: Exchange) -> Response:
        return await row.follow(exchange, stream)

    row.before_written(lambda: setattr(row.record, "sent_body", b"sent"))
    response = await row.follow(exchange, inner)
    assert log == []
    assert await response.read() == b"1"
    assert log == []
    await response.aclose(Outcome.COMPLETE)
    await response.aclose(Outcome.CLIENT_GONE)
    [record] = log
    assert (record.status, record.outcome, record.error, record.sent_body) == (200, "complete", None, b"sent")
    assert (record.cache, record.cache_key, record.sample, record.upstream_ms) == ("miss", "key", 2, 7.5)
    assert record.duration_ms is not None


@pytest.mark.parametrize(
    ("raised", "outcome", "error"),
    [
        (asyncio.CancelledError(), "client_gone", None),
        (KeyError("a bug"), "upstream_failed", "internal_error"),
    ],
)
async def test_it_is_written_however_the_exchange_ends(raised, outcome, error):
    exchange, log = make(), Log()

    async def fail(exchange: Exchange) -> Response:
        raise raised

    with pytest.raises(type(raised)):
        await row_of(exchange, log, Redactor()).follow(exchange, fail)
    [record] = log
    assert (record.status, record.outcome, record.error) == (None, outcome, error)


async def test_the_code_of_our_own_error_is_in_it():
    exchange, log = make(), Log()
    exchange.error = UpstreamTimeout("too late")
    response = await row_of(exchange, log, Redactor()).follow(exchange, answer)
    await response.aclose()
    assert [record.error for record in log] == ["upstream_timeout"]


def test_the_sent_body_is_told_only_where_it_differs():
    exchange = make(b'{"a": 1}')
    assert sent_body(exchange) is None
    exchange.request.body.edit()["a"] = 2
    assert sent_body(exchange) == b'{"a":2}'


def test_a_body_that_cannot_be_written_is_no_error_of_the_log():
    exchange = make()
    exchange.request.body.edit()["a"] = object()
    assert sent_body(exchange) is None
