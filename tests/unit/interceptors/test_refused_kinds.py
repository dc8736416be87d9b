import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.facts import Damped
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.interceptors import refused_kinds
from proxy.interceptors.damping import Damping, DampingConfig
from proxy.interceptors.refused_kinds import LONGEST, MOST_KINDS, RefusedKinds, place_of
from proxy.store.memory import MemoryStore
from tests.unit.interceptors.alone import PATHS, services

REFUSED = b'{"error":{"message":"\'n\' is not supported"}}'


def chat(text: str, **more: Any) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text}], **more}, separators=(",", ":")
    ).encode()


class Bench:
    """A damping with a clock of its own in front of a server that answers what `says` says."""

    def __init__(self, **options: Any) -> None:
        self.now = 1000.0
        self.store = MemoryStore()
        self.damping = Damping(DampingConfig(**options), services(self.store), lambda: self.now)
        self.says: tuple[int, bytes] = (400, REFUSED)
        self.calls = 0

    async def terminal(self, exchange: Exchange) -> Response:
        self.calls += 1
        return Response(self.says[0], [(b"x-request-id", b"%d" % self.calls)], Payload(self.says[1]))

    async def ask(self, body: bytes, *, run: str | None = None, route: str = "chat", key: bytes = b"k") -> Response:
        headers = [(b"authorization", key)]
        exchange = Exchange(Request("POST", PATHS[route], b"", headers, Payload(body)), route=route, run=run)
        response = await self.damping(exchange, self.terminal)
        self.damped = exchange.get(Damped) is not None
        return response

    async def are_damped(self, *bodies: bytes, **request: Any) -> list[bool]:
        found = []
        for body in bodies:
            await self.ask(body, **request)
            found.append(self.damped)
        return found


async def refused(*texts: str) -> Bench:
    """A bench whose server has refused each of these texts once."""
    bench = Bench()
    assert not any(await bench.are_damped(*map(chat, texts)))
    return bench


async def test_one_of_many_that_wait_between_their_attempts_asks_for_all() -> None:
    bench = await refused("a", "b", "c", "d")
    for attempt in range(2, 5):
        bench.now += 1.0
        assert await bench.are_damped(*map(chat, "abcd")) == [False, True, True, True]
        assert bench.calls == 4 + attempt - 1


async def test_the_answer_is_the_last_one_byte_for_byte() -> None:
    bench = await refused("a", "b", "c")
    bench.now += 0.9
    response = await bench.ask(chat("a"))
    assert bench.damped
    assert (response.status, response.headers, (await response.read())) == (400, [(b"x-request-id", b"3")], REFUSED)
    assert bench.store.observed(None, "damped") == 1


async def test_what_was_never_asked_is_asked() -> None:
    bench = await refused("a", "b", "c")
    assert await bench.are_damped(chat("d"), chat("a")) == [False, True]


async def test_two_are_no_kind() -> None:
    bench = await refused("a", "b")
    assert await bench.are_damped(chat("a"), chat("b")) == [False, False]


async def test_seeds_are_content_too() -> None:
    bench = Bench()
    bodies = [chat("a", seed=seed) for seed in range(3)]
    assert await bench.are_damped(*bodies, *bodies) == [False] * 3 + [True] * 3


@pytest.mark.parametrize("says", [(200, b"{}"), (400, b'{"error":"another"}'), (422, REFUSED), (503, b"{}")])
async def test_a_single_other_answer_ends_it(says: tuple[int, bytes]) -> None:
    bench = await refused("a", "b", "c")
    bench.says = says
    assert await bench.are_damped(chat("d")) == [False]
    bench.says = (400, REFUSED)
    assert await bench.are_damped(*map(chat, "abc")) == [False] * 3
    assert await bench.are_damped(*map(chat, "abc")) == [True] * 3


async def test_a_recovery_is_seen_by_the_first_that_asks_a_second_after_the_last_refusal() -> None:
    bench = await refused("a", "b", "c")
    bench.says = (200, b"{}")
    bench.now += 0.99
    assert (await bench.ask(chat("a"))).status == 400
    bench.now += 0.01
    assert [(await bench.ask(chat(text))).status for text in "abc"] == [200] * 3


async def test_who_was_refused_long_ago_asks_again() -> None:
    bench = await refused("a")
    bench.now += LONGEST - 0.5
    assert await bench.are_damped(*map(chat, "bcd"), chat("a")) == [False] * 3 + [True]
    bench.now += 0.5
    assert await bench.are_damped(chat("a"), chat("b")) == [False, True]


@pytest.mark.parametrize(
    "other",
    [
        {"body": chat("a", top_k=1)},
        {"body": chat("a").replace(b'"m"', b'"n"')},
        {"run": "other"},
        {"key": b"other"},
        {"route": "responses"},
    ],
)
async def test_another_kind_is_none_of_it(other: dict[str, Any]) -> None:
    bench = await refused("a", "b", "c")
    body = other.pop("body", chat("a"))
    assert await bench.are_damped(body, body, **other) == [False, False]


@pytest.mark.parametrize(
    "body", [b"[1]", b"{", b'{"messages":NaN}', b'{"n":1,"n":2,"messages":[]}', b'{"n":"\\ud800"}']
)
def test_what_cannot_be_taken_apart_has_no_kind(body: bytes) -> None:
    assert place_of(Exchange(Request("POST", b"/v1/x", b"", [], Payload(body)), route="chat")) is None


def test_only_routes_whose_content_is_known_have_kinds() -> None:
    assert place_of(Exchange(Request("POST", b"/v1/rerank", b"", [], Payload(b"{}")), route="rerank")) is None


@pytest.mark.parametrize("status", [500, 501])
async def test_server_errors_have_no_kinds(status: int) -> None:
    bench = Bench()
    bench.says = (status, REFUSED)
    assert await bench.are_damped(*map(chat, "abcabc")) == [False] * 6


async def test_it_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(refused_kinds, "MOST_REQUESTS", 3)
    bench = await refused("a", "b", "c", "d")
    assert await bench.are_damped(chat("b"), chat("a")) == [True, False]
    for model in range(MOST_KINDS):
        await bench.ask(chat("x", top_k=model))
    assert await bench.are_damped(chat("d")) == [False]


async def test_it_is_empty_ten_seconds_after_the_last_refusal() -> None:
    bench = await refused("a", "b", "c")
    bench.now += LONGEST
    bench.says = (200, b"{}")
    await bench.ask(chat("z", top_k=1))
    assert not bench.damping._kinds


def test_nothing_is_remembered_at_first() -> None:
    assert not RefusedKinds(3)


@given(st.lists(st.tuples(st.sampled_from([200, 400, 422]), st.integers(0, 4), st.floats(0, 1.5)), max_size=80))
async def test_it_says_only_what_this_request_was_told_and_its_kind_within_a_second(
    steps: list[tuple[int, int, float]],
) -> None:
    bench = Bench(after=2)
    said: list[tuple[float, int, int]] = []
    for status, which, pause in steps:
        bench.now += pause
        bench.says, before = (status, b"%d" % status), bench.calls
        response = await bench.ask(chat(str(which)))
        if bench.calls > before:
            said.append((bench.now, which, status))
            continue
        at, _, last = next(item for item in reversed(said) if item[1] == which)
        assert last == response.status >= 400
        assert bench.now - at < LONGEST
        if bench.now - at >= 1:  # it is known of the kind
            assert said[-1][2] == response.status
            assert bench.now - said[-1][0] < 1
