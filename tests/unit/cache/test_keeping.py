import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from proxy.cache import keeping
from proxy.cache.identities import Always
from proxy.cache.keeping import Completed, Keeper, Witness
from proxy.core.facts import UpstreamFacts
from proxy.core.http import Payload, Response
from proxy.core.redact import Redactor
from proxy.core.stream import Outcome
from proxy.store.base import Asker, Sequence, StoredResponse
from proxy.store.memory import MemoryStore
from tests.unit.cache.parts import NAMED, PROBED, Watchman, at, exchange, place, plain, response, stored

OF = Sequence("r", "00", bytes(32))
KEY = b"Bearer sk-0123456789abcdefghij"
WITNESS = Witness(PROBED, [], "m")


def completed(answer: Response, document: Any = None, outcome: Outcome = Outcome.COMPLETE) -> list[StoredResponse]:
    """What is handed on of an answer that ends with `outcome`."""
    seen: list[StoredResponse] = []
    made = exchange(document, run="r", headers=[(b"authorization", KEY)])
    made.put(UpstreamFacts(7.0))
    tap = Completed(made, answer, place(document), NAMED, redactor=Redactor(), then=seen.append)
    assert isinstance(answer.body, Payload)
    tap.feed(answer.body.raw)
    tap.done(outcome)
    return seen


def test_a_complete_answer_is_handed_on_with_where_it_came_from() -> None:
    [kept] = completed(response(None, 200, (b"Date", b"now"), (b"X-RateLimit-Limit", b"1"), (b"x-mine", b"1")))
    assert (kept.body, kept.status, kept.upstream_ms, kept.run) == (plain(), 200, 7.0, "r")
    assert kept.headers == [(b"content-type", b"application/json"), (b"x-mine", b"1")]
    assert (kept.source, kept.request, kept.prompt) == (place().source("n"), place().request, place().prompt())


@pytest.mark.parametrize("outcome", [Outcome.CLIENT_GONE, Outcome.UPSTREAM_FAILED])
def test_what_did_not_end_well_is_not_handed_on(outcome: Outcome) -> None:
    assert completed(response(), outcome=outcome) == []


@pytest.mark.parametrize(
    "answer",
    [
        response(plain(finish_reason="content_filter")),
        response(b"no json"),
        response(plain(KEY.decode().removeprefix("Bearer "))),
        response(None, 200, (b"x-key", KEY)),
        response(None, 200, (b"content-encoding", b"br")),
        Response(200, [(b"content-type", b"text/event-stream")], response().body),
    ],
)
def test_what_may_not_be_kept_is_not_handed_on(answer: Response) -> None:
    assert completed(answer) == []


def test_a_plain_answer_to_a_streamed_request_is_not_handed_on() -> None:
    assert completed(response(), {"stream": True}) == []


def test_an_answer_beyond_the_limit_is_not_handed_on(monkeypatch) -> None:
    monkeypatch.setattr(keeping, "LARGEST", len(plain()) - 1)
    assert completed(response()) == []


async def test_under_a_name_that_somebody_chose_there_is_nothing_to_confirm() -> None:
    store = MemoryStore()
    keeper = Keeper(store, Always())
    keeper.keep(at(), stored(b"a"), Witness(NAMED, [], "m"))
    assert await store.get(at()) == stored(b"a")
    await keeper.aclose()


async def test_an_answer_is_served_once_it_is_confirmed_and_not_before() -> None:
    store, watchman = MemoryStore(), Watchman()
    keeper = Keeper(store, watchman)
    keeper.keep(at(), stored(b"a"), WITNESS)
    pending = asyncio.create_task(keeper.pending(at()))
    look = await watchman.looks.get()
    assert (pending.done(), await store.get(at())) == (False, None)
    assert watchman.hurries == 1  # a client waits for it
    look.set_result(True)
    assert await pending == stored(b"a")
    assert await store.get(at()) == stored(b"a")
    assert await keeper.pending(at()) is None
    assert store.losses.answers_unconfirmed == 0
    await keeper.aclose()


async def test_an_answer_whose_server_changed_meanwhile_is_dropped_and_counted() -> None:
    store, watchman = MemoryStore(), Watchman()
    keeper = Keeper(store, watchman)
    lease = await store.take(OF)
    keeper.keep(at(), stored(b"a"), WITNESS, lease=lease)
    pending = asyncio.create_task(keeper.pending(at()))
    await watchman.decide(same=False)
    assert await pending is None
    assert await store.get(at()) is None
    assert store.losses.answers_unconfirmed == 1
    assert (await store.take(OF)).sample == 0  # its place is the next one's
    await keeper.aclose()


async def test_an_answer_that_finds_too_many_waiting_is_not_kept_and_counted(monkeypatch) -> None:
    store, watchman = MemoryStore(), Watchman()
    keeper = Keeper(store, watchman)
    monkeypatch.setattr(keeping, "BACKLOG", 2 * len(stored(b"a" * 100).body) + 10)
    lease = await store.take(OF)
    for number, held in ((0, None), (1, None), (2, lease)):
        keeper.keep(at(sample=number), stored(b"a" * 100), WITNESS, lease=held)
    assert await keeper.pending(at(sample=2)) is None
    assert store.losses.answers_crowded_out == 1
    assert (await store.take(OF)).sample == 0  # its place is the next one's
    await watchman.decide(same=True)
    await keeper.pending(at(sample=1))
    keeper.keep(at(sample=3), stored(b"a" * 100), WITNESS)  # there is room again
    last = asyncio.create_task(keeper.pending(at(sample=3)))
    await watchman.decide(same=True)
    assert await last == stored(b"a" * 100)
    assert [await store.get(at(sample=number)) is not None for number in range(4)] == [True, True, False, True]
    await keeper.aclose()


async def test_what_comes_while_somebody_looks_waits_for_the_next_look() -> None:
    store, watchman = MemoryStore(), Watchman()
    keeper = Keeper(store, watchman)
    keeper.keep(at(), stored(b"a"), WITNESS)
    keeper.keep(at(sample=1), stored(b"b"), WITNESS)
    first = await watchman.looks.get()
    keeper.keep(at(sample=2), stored(b"c"), WITNESS)
    keeper.keep(at(sample=3), stored(b"d"), Witness(PROBED, [], "other"))
    first.set_result(True)
    second = await watchman.looks.get()
    assert [await store.get(at(sample=index)) for index in range(3)] == [stored(b"a"), stored(b"b"), None]
    second.set_result(False)
    last = asyncio.create_task(keeper.pending(at(sample=3)))
    await watchman.decide(same=True)
    await last
    await keeper.aclose()
    assert [await store.get(at(sample=index)) for index in (2, 3)] == [None, stored(b"d")]
    assert store.losses.answers_unconfirmed == 1


async def test_one_look_confirms_no_answer_to_another_key() -> None:
    """Behind a gateway it may have come from another server."""
    store, watchman = MemoryStore(), Watchman()
    keeper = Keeper(store, watchman)
    for number, key in enumerate((b"Bearer a", b"Bearer b")):
        keeper.keep(at(sample=number), stored(), Witness(PROBED, [(b"authorization", key)], "m"))
    await watchman.decide(same=True)
    await watchman.decide(same=False)
    for number in range(2):
        await keeper.pending(at(sample=number))
    assert [await store.get(at(sample=number)) is not None for number in range(2)] == [True, False]
    await keeper.aclose()


async def test_the_first_of_two_answers_to_one_request_is_kept() -> None:
    store, watchman = MemoryStore(), Watchman()
    keeper = Keeper(store, watchman)
    for body in (b"first", b"second"):
        keeper.keep(at(), stored(body), WITNESS)
    pending = asyncio.create_task(keeper.pending(at()))
    await watchman.decide(same=True)
    assert await pending == await store.get(at()) == stored(b"first")
    await keeper.aclose()


async def test_a_sample_is_settled_and_kept_in_one_step_and_counted() -> None:
    store = MemoryStore()
    keeper = Keeper(store, Always())
    for used, upcoming in ((True, 1), (False, 1)):
        lease = await store.take(OF)
        where = at(pool=lease.pool, sample=lease.sample)
        keeper.keep(where, stored(run="r"), Witness(NAMED, [], "m"), lease=lease, used=used)
        assert await store.get(where) == stored(run="r")
        assert lease.sample == upcoming - (1 if used else 0)
    assert (await store.take(OF)).sample == 1
    keeper.keep(at(sample=None, pool="default"), stored(), Witness(NAMED, [], "m"))
    await keeper.aclose()


async def test_at_the_end_there_is_a_last_look() -> None:
    store, watchman = MemoryStore(), Watchman()
    keeper = Keeper(store, watchman)
    keeper.keep(at(), stored(b"a"), WITNESS)
    await watchman.looks.get()
    closing = asyncio.create_task(keeper.aclose())
    await watchman.decide(same=True)
    await closing
    assert await store.get(at()) == stored(b"a")


async def test_a_last_look_that_takes_too_long_decides_nothing_and_holds_nobody_up(monkeypatch) -> None:
    monkeypatch.setattr(keeping, "_LAST_LOOK", 0)
    store = MemoryStore()
    keeper = Keeper(store, Watchman())
    keeper.keep(at(), stored(b"a"), WITNESS)
    pending = asyncio.create_task(keeper.pending(at()))
    await keeper.aclose()
    assert await pending is None
    assert (store.losses.answers_unconfirmed, await store.get(at())) == (0, None)


class Left(MemoryStore):
    """A store in which somebody who is gone left answers of one client."""

    left = frozenset({WITNESS.asker})

    def __init__(self) -> None:
        super().__init__()
        self.adopted: list[tuple[Asker, str]] = []

    async def adopt(self, asker: Asker, identity: str, knows: Callable[[str], bool], /) -> None:
        assert knows(identity)
        self.adopted.append((asker, identity))


async def test_what_was_left_is_decided_on_when_a_new_look_saw_the_same_server() -> None:
    store, watchman = Left(), Watchman()
    keeper = Keeper(store, watchman)
    for same, expected in ((False, []), (True, [(Asker("m", ""), PROBED.name)])):
        adopting = asyncio.create_task(keeper.adopt(WITNESS))
        await watchman.decide(same=same)
        await adopting
        assert store.adopted == expected
    assert watchman.hurries == 2  # a client waits for it


async def test_only_who_asked_decides_on_what_was_left() -> None:
    store, watchman = Left(), Watchman()
    keeper = Keeper(store, watchman)
    for witness in (
        Witness(PROBED, [], "other"),
        Witness(PROBED, [(b"authorization", KEY)], "m"),
        Witness(NAMED, [], "m"),  # with a namespace nothing is ever left
    ):
        await keeper.adopt(witness)
    assert (store.adopted, watchman.looks.qsize()) == ([], 0)


def test_no_key_is_in_what_stands_for_a_client() -> None:
    one, other = (Witness(PROBED, [(b"authorization", key)], "m").asker for key in (KEY, KEY + b"x"))
    assert one != other
    assert len(one.client) == 16
    assert one == Witness(PROBED, [(b"authorization", KEY), (b"accept", b"x")], "m").asker
