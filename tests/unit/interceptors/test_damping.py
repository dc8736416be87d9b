import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import UpstreamUnreachable
from proxy.core.facts import Damped, UpstreamFacts
from proxy.core.http import Exchange, Headers, Payload, Request, Response
from proxy.interceptors.damping import LARGEST, MOST, Damping, DampingConfig
from proxy.interceptors.response_stats import ResponseStats, ResponseStatsConfig
from proxy.store.memory import MemoryStore
from tests.unit.interceptors.alone import chunked, services

BODY = b'{"model":"m","messages":[]}'
REFUSED = b'{"error":{"message":"no such parameter"}}'


class Bench:
    """A damping with a clock of its own in front of a server that answers what `says` says."""

    def __init__(self, **options: Any) -> None:
        self.store = MemoryStore()
        self.now = 1000.0
        self.damping = Damping(DampingConfig(**options), services(self.store), lambda: self.now)
        self.says: Any = (400, REFUSED)
        self.calls = 0
        self.ms = 3.0

    async def terminal(self, exchange: Exchange) -> Response:
        self.calls += 1
        if isinstance(self.says, Exception):
            raise self.says
        status, body = self.says
        exchange.put(UpstreamFacts(ms=self.ms))
        headers = [(b"content-type", b"application/json"), (b"x-twice", b"1"), (b"x-twice", b"%d" % self.calls)]
        return Response(status, headers, chunked(body, 9) if self.ms < 0 else Payload(body))

    async def ask(
        self, body: bytes = BODY, headers: Headers | None = None, run: str | None = None, path: bytes = b"/v1/responses"
    ) -> tuple[Response, Exchange]:
        exchange = Exchange(Request("POST", path, b"", headers or [], Payload(body)), route="responses", run=run)
        return await self.damping(exchange, self.terminal), exchange

    async def hammer(self, times: int, **request: Any) -> list[bool]:
        """For each of some requests at once, whether it was damped."""
        return [(await self.ask(**request))[1].get(Damped) is not None for _ in range(times)]


async def test_the_first_failures_pass_and_the_last_is_repeated_byte_for_byte() -> None:
    bench = Bench()
    live = [await bench.ask() for _ in range(3)]
    response, exchange = await bench.ask()
    assert bench.calls == 3
    assert all(passed.get(Damped) is None for _, passed in live)
    assert isinstance(response.body, Payload)
    assert (response.status, response.headers, response.body.raw) == (400, live[-1][0].headers, REFUSED)
    assert exchange.get(Damped) == Damped(1)
    assert (await bench.ask())[1].get(Damped) == Damped(2)


async def test_after_a_second_the_server_is_asked_again() -> None:
    bench = Bench()
    await bench.hammer(4)
    for _ in range(10):  # it goes on all the time
        bench.now += 0.099
        assert await bench.hammer(1) == [True]
    bench.now += 0.01
    assert await bench.hammer(2) == [False, True]


@pytest.mark.parametrize("recovered", [(200, b"{}"), (429, b"{}"), (503, b"{}")])
async def test_a_recovery_ends_it_at_once(recovered: tuple[int, bytes]) -> None:
    bench = Bench()
    await bench.hammer(4)
    bench.now += 0.5
    await bench.hammer(1)
    bench.now += 0.5
    bench.says = recovered
    assert await bench.hammer(5) == [False] * 5
    bench.says = (400, REFUSED)
    assert await bench.hammer(4) == [False, False, False, True]


async def test_who_pauses_for_a_second_is_never_damped() -> None:
    bench = Bench()
    for _ in range(9):
        assert await bench.hammer(1) == [False]
        bench.now += 1.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
async def test_client_errors_are_damped(status: int) -> None:
    bench = Bench()
    bench.says = (status, REFUSED)
    assert await bench.hammer(4) == [False, False, False, True]


@pytest.mark.parametrize("status", [500, 501])
async def test_server_errors_are_damped_after_more_of_them(status: int) -> None:
    bench = Bench()
    bench.says = (status, b"Internal Server Error")
    assert await bench.hammer(11) == [False] * 10 + [True]


@pytest.mark.parametrize("status", [200, 301, 408, 409, 423, 424, 425, 429, 499, 502, 503, 504, 529])
async def test_what_is_no_failure_or_may_be_over_at_any_moment_is_not(status: int) -> None:
    bench = Bench(after_server_errors=1)
    bench.says = (status, b"{}")
    assert await bench.hammer(20) == [False] * 20


async def test_our_own_errors_are_not() -> None:
    bench = Bench()
    bench.says = UpstreamUnreachable("no connection")
    for _ in range(6):
        with pytest.raises(UpstreamUnreachable):
            await bench.ask()
    assert bench.calls == 6


@pytest.mark.parametrize(("ms", "body"), [(1000.0, REFUSED), (-1.0, REFUSED), (3.0, b"x" * (LARGEST + 1))])
async def test_slow_streamed_and_long_failures_are_not(ms: float, body: bytes) -> None:
    bench = Bench()
    bench.ms, bench.says = ms, (400, body)
    assert await bench.hammer(6) == [False] * 6


async def test_another_status_is_counted_anew() -> None:
    bench = Bench()
    for status in (400, 400, 422, 400, 400, 400):
        bench.says = (status, REFUSED)
        assert await bench.hammer(1) == [False]
    assert await bench.hammer(1) == [True]


CREDENTIALS = [(b"authorization", b"Bearer one")]


@pytest.mark.parametrize(
    "other",
    [
        {"body": BODY.replace(b"m", b"n")},
        {"body": BODY + b" "},
        {"path": b"/v1/messages"},
        {"run": "other"},
        {"headers": [(b"authorization", b"Bearer two")]},
        {"headers": []},
        {"headers": [*CREDENTIALS, (b"x-api-key", b"k")]},
        {"headers": [*CREDENTIALS, (b"openai-organization", b"o")]},
        {"headers": [*CREDENTIALS, (b"x-nobody-knows", b"1")]},
    ],
)
async def test_another_request_is_not_answered(other: dict[str, Any]) -> None:
    bench = Bench()
    request = {"headers": CREDENTIALS, **other}
    assert await bench.hammer(4, headers=CREDENTIALS) == [False, False, False, True]
    assert await bench.hammer(4, **request) == [False, False, False, True]
    assert await bench.hammer(1, headers=CREDENTIALS) == [True]


async def test_what_differs_between_attempts_is_left_out_of_the_key() -> None:
    bench = Bench()
    for attempt in range(5):
        told = [
            (b"x-stainless-retry-count", b"%d" % attempt),
            (b"x-request-id", b"r%d" % attempt),
            (b"traceparent", b"t%d" % attempt),
            (b"idempotency-key", b"i%d" % attempt),
        ]
        _, exchange = await bench.ask(headers=[*told, *CREDENTIALS] if attempt % 2 else [*CREDENTIALS, *told])
        assert (exchange.get(Damped) is not None) == (attempt >= 3)


async def test_the_memory_is_bounded_and_forgets_what_was_asked_for_longest_ago() -> None:
    bench = Bench(after=1)
    bodies = [b'{"top_k":%d}' % (1000 + number) for number in range(MOST + 1)]
    for body in bodies[:MOST]:
        await bench.hammer(1, body=body)
    await bench.hammer(1, body=bodies[MOST])
    assert await bench.hammer(1, body=bodies[1]) == [True]
    assert await bench.hammer(1, body=bodies[0]) == [False]
    assert len(bench.damping._failures) == MOST
    assert sum(bench.damping._sizes.values()) == MOST


@given(st.lists(st.tuples(st.sampled_from([200, 400, 422, 500, 503]), st.integers(0, 3), st.floats(0, 2)), max_size=60))
async def test_the_memory_says_only_what_the_server_said_within_a_second(steps: list[tuple[int, int, float]]) -> None:
    bench = Bench(after=2, after_server_errors=3)
    said: dict[int, tuple[float, int]] = {}
    for status, which, pause in steps:
        bench.now += pause
        bench.says, before = (status, b"%d" % status), bench.calls
        response, exchange = await bench.ask(body=b'{"n":%d}' % which)
        if bench.calls == before:
            at, last = said[which]
            assert bench.now - at < 1
            assert last == response.status >= 400
            assert exchange.get(Damped) is not None
        else:
            assert response.status == status
            said[which] = (bench.now, status)


async def test_it_is_counted_apart_and_said_once(caplog) -> None:
    bench = Bench()
    stats = ResponseStats(ResponseStatsConfig(), services(bench.store))
    with caplog.at_level(logging.WARNING, "evalside"):
        for _ in range(6):
            exchange = Exchange(Request("POST", b"/v1/x", b"", [], Payload(BODY)), route="chat", run="r")
            await stats(exchange, lambda asked: bench.damping(asked, bench.terminal))
    assert (bench.store.observed("r", "responses"), bench.store.observed("r", "damped")) == (3, 3)
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("damping: /v1/x was answered 3 times in a row with 400 to one and the same request;")


async def test_where_nothing_failed_no_body_is_looked_at(monkeypatch) -> None:
    bench = Bench()
    bench.says = (200, b"{}")
    monkeypatch.setattr("proxy.interceptors.damping.digest", lambda *request: pytest.fail("it was hashed"))
    assert await bench.hammer(3) == [False] * 3


async def test_a_success_ends_it_also_where_it_was_asked_for_before_the_first_failure() -> None:
    bench = Bench()
    slow = Exchange(Request("POST", b"/v1/responses", b"", [], Payload(BODY)), route="responses")

    async def generates(exchange: Exchange) -> Response:
        assert await bench.hammer(4) == [False, False, False, True]
        return Response(200, [], Payload(b"{}"))

    assert (await bench.damping(slow, generates)).status == 200
    assert await bench.hammer(1) == [False]
