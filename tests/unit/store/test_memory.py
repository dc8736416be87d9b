from proxy.store.memory import MemoryStore
from proxy.testing.contracts import FIRST, KEY, record


async def test_what_is_counted_and_verified_can_be_looked_at() -> None:
    store = MemoryStore()
    store.count("r", FIRST, served=False)
    store.count("r", FIRST, served=True)
    store.verified("r", KEY, "content")
    store.append(record("a"))
    await store.flush()
    assert store._db.execute("SELECT run, asked, served FROM uses").fetchall() == [("r", 1, 1)]
    assert store._db.execute("SELECT run, agreed FROM verifications").fetchall() == [("r", 0)]
    assert [kept.id for kept in store.records] == ["a"]
