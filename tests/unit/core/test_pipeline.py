import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import NotEditable, UpstreamUnreachable
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.pipeline import Layer, Stage, compose, in_order
from proxy.core.stream import Outcome


def make_exchange(route="chat"):
    return Exchange(Request("POST", b"/", b"", [], Payload(b"{}")), route=route)


async def terminal(exchange):
    return Response(200, [], Payload(b"answer"))


def stage(name, layer, interceptor, rank=0, routes=None):
    return Stage(name, layer, rank, interceptor, routes)


class Journal:
    """Interceptors that write down when they are entered and left, and the failures that were counted."""

    def __init__(self):
        self.lines = []
        self.failures = []

    def passing(self, name, layer, rank=0, routes=None):
        async def interceptor(exchange, call_next):
            self.lines.append(f"{name} in")
            response = await call_next(exchange)
            self.lines.append(f"{name} out {response.status}")
            return response

        return stage(name, layer, interceptor, rank, routes)

    def failing(self, name, layer, *, after, error=None):
        async def interceptor(exchange, call_next):
            if after:
                await call_next(exchange)
            raise error or ZeroDivisionError("odd")

        return stage(name, layer, interceptor)

    async def run(self, stages, inner=terminal, exchange=None):
        return await compose(stages, inner, on_failure=self.failures.append)(exchange or make_exchange())


def failing_terminal(error):
    async def fails(exchange):
        raise error

    return fails


ORDERED = [
    ("log", Layer.OBSERVE, 0),
    ("stats", Layer.OBSERVE, 5),
    ("system", Layer.TRANSFORM, 10),
    ("modifier", Layer.TRANSFORM, 20),
    ("endpoint", Layer.TRANSFORM, 100),
    ("cache", Layer.CACHE, 0),
    ("limit", Layer.TRANSPORT, 0),
]


@given(st.permutations(ORDERED))
async def test_any_list_gives_the_same_effective_order(listed):
    journal = Journal()
    await journal.run([journal.passing(*entry) for entry in listed])
    names = [name for name, _, _ in ORDERED]
    assert journal.lines == [f"{name} in" for name in names] + [f"{name} out 200" for name in reversed(names)]


def test_list_order_breaks_ties():
    journal = Journal()
    stages = [journal.passing(name, Layer.TRANSFORM, 1) for name in "bca"]
    assert [entry.name for entry in in_order(stages)] == ["b", "c", "a"]


async def test_without_stages_the_terminal_is_asked_directly():
    assert compose([], terminal) is terminal


@pytest.mark.parametrize("after", [False, True])
async def test_an_observer_that_raises_is_counted_and_the_answer_passes(after):
    asked = []

    async def once(exchange):
        asked.append(exchange)
        return await terminal(exchange)

    journal = Journal()
    stages = [journal.passing("log", Layer.OBSERVE), journal.failing("stats", Layer.OBSERVE, after=after)]
    response = await journal.run(stages, once)
    assert await response.read() == b"answer"
    assert len(asked) == 1
    assert journal.failures == ["stats"]
    assert journal.lines == ["log in", "log out 200"]


async def test_without_a_counter_an_observer_still_fails_open():
    response = await compose([Journal().failing("stats", Layer.OBSERVE, after=False)], terminal)(make_exchange())
    assert response.status == 200


async def test_what_fails_inside_an_observer_is_not_asked_again():
    journal = Journal()
    with pytest.raises(KeyError):
        await journal.run([journal.passing("log", Layer.OBSERVE)], failing_terminal(KeyError("bug")))
    assert journal.failures == []


@pytest.mark.parametrize("layer", [Layer.TRANSFORM, Layer.CACHE, Layer.TRANSPORT])
@pytest.mark.parametrize("after", [False, True])
async def test_a_transform_that_raises_is_a_500_that_names_it(layer, after):
    journal = Journal()
    exchange = make_exchange()
    stages = [journal.failing("reasoning", layer, after=after), journal.passing("log", Layer.OBSERVE)]
    response = await journal.run(stages, exchange=exchange)
    error = json.loads(await response.read())["error"]
    assert response.status == 500
    assert error["code"] == "interceptor_failed"
    assert "'reasoning' failed: ZeroDivisionError('odd')" in error["message"]
    assert journal.failures == ["reasoning"]
    assert journal.lines == ["log in", "log out 500"]
    assert exchange.error is not None


@pytest.mark.parametrize("observed", [False, True])
async def test_our_own_errors_pass_transforms_and_are_answers_to_observers(observed):
    journal = Journal()
    stages = [journal.failing("modifier", Layer.TRANSFORM, after=False, error=NotEditable("no"))]
    if not observed:
        with pytest.raises(NotEditable):
            await journal.run(stages)
        return
    response = await journal.run([*stages, journal.passing("log", Layer.OBSERVE)])
    assert response.status == 400
    assert journal.lines == ["log in", "log out 400"]
    assert journal.failures == []


async def test_with_observers_alone_an_upstream_error_is_an_answer_too():
    journal = Journal()
    response = await journal.run(
        [journal.passing("log", Layer.OBSERVE)], failing_terminal(UpstreamUnreachable("no connection"))
    )
    assert response.status == 502
    assert journal.lines == ["log in", "log out 502"]


@pytest.mark.parametrize("after", [False, True])
async def test_an_error_that_an_observer_means_for_the_client_is_seen_by_those_before_it(after):
    journal = Journal()
    exchange = make_exchange()
    aborts = journal.failing("raise_client_errors", Layer.OBSERVE, after=after, error=NotEditable("aborted"))
    response = await journal.run([journal.passing("log", Layer.OBSERVE), aborts], exchange=exchange)
    assert response.status == 400
    assert journal.lines == ["log in", "log out 400"]
    assert journal.failures == []
    assert isinstance(exchange.error, NotEditable)


@pytest.mark.parametrize("layer", list(Layer))
@pytest.mark.parametrize(("route", "entered"), [("chat", True), ("embeddings", False), (None, False)])
async def test_routes_limit_a_stage(layer, route, entered):
    journal = Journal()
    limited = journal.passing("limited", layer, routes=frozenset({"chat"}))
    response = await journal.run([limited], exchange=make_exchange(route))
    assert response.status == 200
    assert bool(journal.lines) is entered


async def test_what_a_stage_holds_is_released_though_one_further_out_fails():
    released: list[Outcome] = []

    async def limit(exchange, call_next):
        response = await call_next(exchange)
        response.on_close(released.append)
        return response

    journal = Journal()
    exchange = make_exchange()
    stages = [stage("limit", Layer.TRANSPORT, limit), journal.failing("reasoning", Layer.TRANSFORM, after=True)]
    with pytest.raises(Exception, match="reasoning"):
        await journal.run(stages, exchange=exchange)
    await exchange.aclose()
    assert released == [Outcome.CLIENT_GONE]


async def test_what_only_looks_is_entered_in_no_ledger():
    async def edits(exchange, call_next):
        exchange.request.path += b"other"
        response = await call_next(exchange)
        response.status += 1
        return response

    def changes(exchange):
        return [(change.interceptor, change.on, change.field) for change in exchange.ledger.changes]

    looks = Stage("looks", Layer.TRANSFORM, 0, edits, changes=False)
    alone, both = make_exchange(), make_exchange()
    await compose([looks], terminal)(alone)
    assert changes(alone) == []
    await compose([looks, Stage("edits", Layer.TRANSFORM, -1, edits)], terminal)(both)
    assert changes(both) == [("edits", "request", "path"), ("edits", "answer", "status")]
