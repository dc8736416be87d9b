from typing import Any

import pytest

from proxy.cache.asked import Asked
from proxy.cache.identities import Always
from proxy.cache.keeping import Keeper
from proxy.cache.lookup import Lookup
from proxy.cache.sampling import NEVER_SERVED, Sampling
from proxy.core.errors import InterceptorFailed, InvalidHeader, ReplayMiss, StoreUnwritable
from proxy.core.facts import CacheFacts, SampleOverride
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next, Stage, compose
from proxy.core.stream import Outcome
from proxy.store import samples
from proxy.store.base import Lease, Sequence, StoreError
from proxy.store.memory import MemoryStore
from tests.unit.cache.parts import NAMED, answering, asked, exchange, place, plain, response

SAMPLED = {"temperature": 1}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def sampling(store: MemoryStore) -> Sampling:
    keeper = Keeper(store, Always(NAMED))
    return Sampling(store, Lookup(store, keeper), keeper, None)


def sampled(mode: str = "on", run: str | None = "r", **options: Any) -> Asked:
    return asked(mode, exchange=exchange(SAMPLED, run=run), **options)


def facts(made: Asked) -> tuple[str, int | None, str | None]:
    found = made.exchange.get(CacheFacts)
    assert found is not None
    return found.status, found.sample, found.reason


async def test_a_sample_is_used_up_with_its_last_byte_only(store: MemoryStore) -> None:
    cache = sampling(store)
    for outcome, expected in (
        (Outcome.CLIENT_GONE, ("miss", 0)),
        (Outcome.UPSTREAM_FAILED, ("hit", 0)),
        (Outcome.COMPLETE, ("hit", 0)),
        (Outcome.COMPLETE, ("miss", 1)),
    ):
        made = sampled()
        answer = await cache.answer(made)
        assert facts(made)[:2] == expected
        await answer.aclose(outcome)


@pytest.mark.parametrize(
    ("mode", "made", "upcoming"),
    [
        ("on", response(b"{}", 400), 0),
        ("on", response(plain(finish_reason="content_filter")), 0),
        ("read", response(), 1),
        ("read", response(b"{}", 500), 0),
    ],
)
async def test_what_uses_up_a_sample(store: MemoryStore, mode: str, made: Response, upcoming: int) -> None:
    cache = sampling(store)
    answer = await cache.answer(sampled(mode, call_next=answering(made)))
    await answer.aclose(Outcome.COMPLETE)
    again = sampled()
    await cache.answer(again)
    assert facts(again)[:2] == ("miss", upcoming)


async def test_a_transform_that_fails_behind_the_cache_gives_the_sample_back(store: MemoryStore) -> None:
    cache = sampling(store)

    async def caching(made: Exchange, call_next: Next) -> Response:
        return await cache.answer(asked(exchange=made, call_next=call_next))

    async def fails(made: Exchange, call_next: Next) -> Response:
        await call_next(made)
        raise KeyError("broken")

    stages = [Stage("fails", Layer.TRANSFORM, 0, fails), Stage("caching", Layer.CACHE, 0, caching)]
    made = exchange(SAMPLED, run="r")
    with pytest.raises(InterceptorFailed, match="'fails'"):
        await compose(stages, answering(response()))(made)
    await made.aclose()
    again = sampled()
    await cache.answer(again)
    assert facts(again) == ("hit", 0, None)  # it was whole, so it is kept


async def test_the_default_run_is_never_served(store: MemoryStore) -> None:
    for run in (None, "default"):
        made = sampled(run=run)
        await sampling(store).answer(made)
        assert facts(made) == ("miss", None, NEVER_SERVED)
    for identity in (NAMED, None):
        with pytest.raises(ReplayMiss, match="never served"):
            await sampling(store).answer(sampled("replay", None, identity=identity))
    named = sampled(run=None)
    named.exchange.put(SampleOverride(0))
    with pytest.raises(InvalidHeader, match="name the run"):
        await sampling(store).answer(named)


async def test_a_replay_looks_under_every_name_on_record_and_leases_nothing(store: MemoryStore) -> None:
    cache = sampling(store)
    await (await cache.answer(sampled())).aclose(Outcome.CLIENT_GONE)
    replayed = sampled("replay", identity=None, names=["other", "n"])
    await (await cache.answer(replayed)).aclose(Outcome.COMPLETE)
    assert facts(replayed)[:2] == ("hit", 0)
    with pytest.raises(ReplayMiss, match="run 'r' has no further sample"):
        await cache.answer(sampled("replay", identity=None, names=["other", "n"]))
    received = (await store.take(Sequence("r", "x", place(SAMPLED).key("other")))).sample
    assert received == 0


async def test_a_store_that_cannot_lease_is_an_error_that_says_so(store: MemoryStore, monkeypatch) -> None:
    async def take(of: Sequence, /, *, serves: bool) -> Lease:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "take", take)
    with pytest.raises(StoreUnwritable, match="run 'r' cannot hand out samples: the disk is full"):
        await sampling(store).answer(sampled())


async def test_a_pass_that_refreshes_uses_up_no_sample_with_its_worker(store: MemoryStore) -> None:
    cache = sampling(store)
    await (await cache.answer(sampled())).aclose(Outcome.COMPLETE)
    samples.new_pass(store._db, "r", source=None, mode=None)
    for mode, expected in (("refresh", "memory-2"), ("on", "memory-3-replayed")):
        answer = await cache.answer(sampled(mode))
        assert store._db.execute("SELECT holder FROM slots").fetchall() == [(expected,)]
        await answer.aclose(Outcome.CLIENT_GONE)
