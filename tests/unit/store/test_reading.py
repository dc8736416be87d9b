import pytest

from proxy.store.base import ExchangeRecord, StoreError
from proxy.store.reading import Filter, exchange, exchanges, losses, reading, run_summary, runs
from proxy.store.sqlite import SqliteStore


def record(number, run, **facts):
    return ExchangeRecord(f"id-{number}", run, 1000.0 + number, "POST", f"/v1/p{number}", "chat", **facts)


@pytest.fixture
async def path(tmp_path):
    """A store with four exchanges of two runs."""
    store = SqliteStore(tmp_path / "x.db")
    store.open()
    bodies = {"request_body": b'{"a": 1}', "response_body": b"\xff" * 3000, "response_headers": [(b"x", b"\xe9")]}
    store.append(record(1, "r1", status=200, cache="miss", cache_key="abc", outcome="complete", **bodies))
    store.append(record(2, "r1", status=200, cache="hit", outcome="complete"))
    store.append(record(3, "r2", status=502, error="upstream_unreachable", outcome="complete"))
    store.append(record(4, "r1", status=200, cache="hit", outcome="client_gone"))
    await store.flush()
    store.close()
    return tmp_path / "x.db"


def ids(found):
    return [item["id"] for item in found["items"]]


def test_pages_are_newest_first_and_go_on_where_the_last_one_ended(path):
    with reading(path) as db:
        first = exchanges(db, Filter(), limit=3, cursor=None)
        second = exchanges(db, Filter(), limit=3, cursor=first["next"])
    assert (ids(first), ids(second), second["next"]) == (["id-4", "id-3", "id-2"], ["id-1"], None)


def test_a_page_that_is_just_full_is_the_last(path):
    with reading(path) as db:
        found = exchanges(db, Filter(), limit=4, cursor=None)
    assert (len(found["items"]), found["next"]) == (4, None)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(run="r1"), ["id-4", "id-2", "id-1"]),
        (Filter(run="r1", cache="hit"), ["id-4", "id-2"]),
        (Filter(status=502), ["id-3"]),
        (Filter(q="unreachable"), ["id-3"]),
        (Filter(q="abc"), ["id-1"]),
        (Filter(q="/p2"), ["id-2"]),
        (Filter(q="%"), []),
        (Filter(run="r3"), []),
    ],
)
def test_filters(path, wanted, found):
    with reading(path) as db:
        assert ids(exchanges(db, wanted, limit=10, cursor=None)) == found


def test_one_exchange_is_text(path):
    with reading(path) as db:
        found = exchange(db, "id-1")
        assert exchange(db, "id-9") is None
    assert found is not None
    assert (found["request_body"], found["response_body"], found["sent_body"]) == ('{"a": 1}', "\ufffd" * 3000, None)
    assert found["response_headers"] == [["x", "é"]]
    assert found["request_headers"] is None
    assert not {"seq", "size"} & set(found)


def test_runs_and_their_counts(path):
    with reading(path) as db:
        assert [(run["run"], run["exchanges"], run["first_at"], run["last_at"]) for run in runs(db)] == [
            ("r1", 3, 1001.0, 1004.0),
            ("r2", 1, 1003.0, 1003.0),
        ]
        summary = run_summary(db, "r1")
        assert run_summary(db, "r9") is None
        assert losses(db) == {}
    assert summary is not None
    assert (summary["exchanges"], summary["status"], summary["cache"]) == (3, {"200": 3}, {"hit": 2, "miss": 1})
    assert (summary["outcome"], summary["error"]) == ({"complete": 2, "client_gone": 1}, {})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"none\.db cannot be read"), reading(tmp_path / "none.db"):
        pass


def test_nothing_can_be_written(path):
    with pytest.raises(StoreError, match="readonly"), reading(path) as db:
        db.execute("DELETE FROM exchanges")
