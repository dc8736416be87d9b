import sqlite3

import pytest
from sqlite_utils import Database

from proxy.store.base import ChangeKind
from proxy.store.changes import of_run
from proxy.store.memory import MemoryStore
from proxy.store.reading import reading
from proxy.store.runs import NewPass, begin
from proxy.store.sqlite import SqliteStore

SEED = ChangeKind("payload_modifier", "request", "seed", "removed", "configured")
TOP_P = ChangeKind("payload_modifier", "request", "top_p", "added", "configured")


async def test_kinds_are_counted_over_the_requests_of_a_pass(tmp_path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    store.open()
    await store.change(lambda connection: begin(connection, "r", NewPass()))
    for kinds in ([SEED, TOP_P], [SEED], []):
        store.count_changes("r", kinds)
    await store.flush()
    await store.change(lambda connection: begin(connection, "r", NewPass()))
    store.count_changes("r", [TOP_P])
    store.count_changes(None, [])
    store.close()
    with reading(tmp_path / "a.db") as db:
        assert [(item["field"], item["requests"], item["of"]) for item in of_run(db, "r", 0)] == [
            ("seed", 2, 3),
            ("top_p", 1, 3),
        ]
        [first] = of_run(db, "r", 1)
        assert of_run(db, "default", 0) == []
    assert first == {
        "interceptor": "payload_modifier",
        "on": "request",
        "field": "top_p",
        "what": "added",
        "why": "configured",
        "requests": 1,
        "of": 1,
    }


def test_the_store_in_memory_counts_too() -> None:
    store = MemoryStore()
    store.count_changes("r", [SEED])
    store.count_changes("r", [SEED])
    store._db.row_factory = sqlite3.Row
    assert [(item["field"], item["requests"], item["of"]) for item in of_run(Database(store._db), "r", 0)] == [
        ("seed", 2, 2)
    ]


@pytest.mark.parametrize("number", [0, 7])
def test_a_pass_without_changes_has_none(number) -> None:
    assert of_run(Database(MemoryStore()._db), "r", number) == []
