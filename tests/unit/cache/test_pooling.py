import pytest

from proxy.cache.asked import Asked
from proxy.cache.flights import Flights
from proxy.cache.identities import Always
from proxy.cache.keeping import Keeper
from proxy.cache.lookup import NOTHING, Lookup
from proxy.cache.pooling import Pooling
from proxy.cache.verifying import Verifier
from proxy.core.errors import ReplayMiss
from proxy.core.facts import CacheFacts
from proxy.store.base import POOLED
from proxy.store.memory import MemoryStore
from tests.unit.cache.parts import NAMED, asked, at, exchange, place, plain, response, stored

KEY = place().key("n")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def pooling(store: MemoryStore) -> Pooling:
    keeper = Keeper(store, Always(NAMED))
    return Pooling(Lookup(store, keeper), keeper, Flights(), Verifier(store, Always(NAMED), 0), coalesce=False)


async def uses(store: MemoryStore) -> list[tuple[object, ...]]:
    await store.flush()
    return store._db.execute("SELECT run, asked, served FROM uses ORDER BY run").fetchall()


async def test_an_answer_is_asked_for_once_and_each_use_counted(store: MemoryStore, pooling: Pooling) -> None:
    for run, status, reason in ((None, "miss", NOTHING), ("r", "hit", None), ("r", "hit", None)):
        made = asked(exchange=exchange(run=run))
        assert await (await pooling.answer(made)).read() == plain()
        assert made.exchange.get(CacheFacts) == CacheFacts(status, KEY.hex(), None, reason)
    assert await store.get(at(key=KEY, pool=POOLED)) is not None
    assert await uses(store) == [("default", 1, 0), ("r", 0, 2)]


@pytest.mark.parametrize("mode", ["write", "refresh"])
async def test_a_mode_that_serves_nothing_says_so(store: MemoryStore, pooling: Pooling, mode: str) -> None:
    store.put(at(key=KEY), stored(b"old"))
    made = asked(mode)
    await pooling.answer(made)
    assert made.exchange.get(CacheFacts) == CacheFacts("miss", KEY.hex(), None, f"mode {mode} serves nothing")
    kept = await store.get(at(key=KEY))
    assert kept is not None
    assert kept.body == (plain() if mode == "refresh" else b"old")


@pytest.mark.parametrize("made", [asked("replay"), asked("replay", identity=None), asked("replay", None, names=["x"])])
async def test_a_replay_that_finds_nothing_says_so(pooling: Pooling, made: Asked) -> None:
    with pytest.raises(ReplayMiss, match=NOTHING):
        await pooling.answer(made)


async def test_a_replay_without_a_server_looks_under_every_name_on_record(store: MemoryStore, pooling: Pooling) -> None:
    store.put(at(key=place().key("second")), stored(b"x"))
    made = asked("replay", None, names=["first", "second"])
    assert await (await pooling.answer(made)).read() == b"x"


async def test_an_error_is_passed_on_and_not_kept(store: MemoryStore, pooling: Pooling) -> None:
    async def refuses(asked: object) -> object:
        return response(b"{}", 404)

    made = asked(call_next=refuses)
    assert (await pooling.answer(made)).status == 404
    assert await store.get(at(key=KEY)) is None
