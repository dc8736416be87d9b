from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.store import samples
from proxy.store.memory import MemoryStore
from proxy.store.reading import reading
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import ExchangeLogContract, ResponseStoreContract, RunStoreContract


class TestSqliteStore(ResponseStoreContract, RunStoreContract, ExchangeLogContract):
    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(folder / "evalside.db")
        store.open()
        try:
            yield store
        finally:
            store.close()

    async def records(self, store: SqliteStore) -> list[str]:
        with reading(store.path) as db:
            return [row[0] for row in db.execute("SELECT id FROM exchanges ORDER BY seq").fetchall()]

    async def new_pass(self, store: SqliteStore, run: str, source: str | None = None, mode: str | None = None) -> None:
        await store.change(lambda db: samples.new_pass(db, run, source=source, mode=mode))


class TestMemoryStore(ResponseStoreContract, RunStoreContract, ExchangeLogContract):
    persistent = False

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[MemoryStore]:
        yield MemoryStore()

    async def records(self, store: MemoryStore) -> list[str]:
        return [record.id for record in store.records]

    async def new_pass(self, store: MemoryStore, run: str, source: str | None = None, mode: str | None = None) -> None:
        samples.new_pass(store._db, run, source=source, mode=mode)
