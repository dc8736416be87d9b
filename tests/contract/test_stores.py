from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.store.memory import MemoryStore
from proxy.store.reading import reading
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import ExchangeLogContract, ResponseStoreContract


class TestSqliteStore(ResponseStoreContract, ExchangeLogContract):
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


class TestMemoryStore(ResponseStoreContract, ExchangeLogContract):
    persistent = False

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[MemoryStore]:
        yield MemoryStore()

    async def records(self, store: MemoryStore) -> list[str]:
        return [record.id for record in store.records]
