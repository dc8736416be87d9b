import sqlite3
from pathlib import Path

import pytest

from proxy.store import bounds, samples
from proxy.store.base import EntryKey, Lease, Sequence, sample_pool
from proxy.store.bounds import Bounds
from proxy.store.rows import write_response
from proxy.store.schema import migrate
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import FIRST, SAMPLED, answer


@pytest.fixture
def db(monkeypatch):
    monkeypatch.setattr(bounds, "BOUNDS", {"uses": 3, "verifications": 2, "sequences": 3})
    monkeypatch.setattr(bounds, "_STEP", 2)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def key(number: int) -> bytes:
    return bytes([number]) * 32


def kept(db: sqlite3.Connection, sql: str) -> list[object]:
    return [row[0] for row in db.execute(sql)]


def test_what_is_not_too_much_stays(db) -> None:
    for number in range(3):
        samples.count(db, "r", (key(number), "", 0), asked=1, served=0)
    assert Bounds().enforce(db) == 0
    assert len(kept(db, "SELECT key FROM uses")) == 3


def test_the_oldest_uses_and_verifications_go_and_are_counted(db) -> None:
    for number in range(10):
        samples.count(db, "r", (key(number), "", 0), asked=1, served=0)
        db.execute("INSERT INTO verifications (run, key, at, agreed) VALUES ('r', ?, 0, 1)", (key(number),))
    assert Bounds().enforce(db) == 7 + 8
    assert kept(db, "SELECT key FROM uses ORDER BY rowid") == [key(7), key(8), key(9)]
    assert kept(db, "SELECT key FROM verifications ORDER BY id") == [key(8), key(9)]
    assert Bounds().enforce(db) == 0


def test_rows_that_are_gone_are_no_reason(db) -> None:
    """Row numbers have gaps where runs were deleted."""
    for number in range(6):
        samples.count(db, f"r{number}", (key(number), "", 0), asked=1, served=0)
    for number in range(1, 5):
        samples.delete_run(db, f"r{number}")
    assert Bounds().enforce(db) == 0
    assert kept(db, "SELECT run FROM uses ORDER BY rowid") == ["r0", "r5"]


def taken(db: sqlite3.Connection, number: int, run: str = "r") -> Lease:
    return samples.take(db, Sequence(run, "00", key(number)), f"h{number}")


def test_sequences_of_earlier_passes_go_without_a_loss(db) -> None:
    for number in range(5):
        samples.settle(db, taken(db, number), used=number > 0)
    samples.new_pass(db, "r", source=None, mode=None)
    taken(db, 7)
    assert Bounds().enforce(db) == 0
    assert kept(db, "SELECT substr(sequence, -32) FROM sequences ORDER BY rowid") == [key(3), key(4), key(7)]


def test_of_a_pass_that_goes_on_only_what_has_no_answer_and_no_lease_begins_anew(db) -> None:
    for number in range(6):
        lease = taken(db, number)
        if number == 1:  # its counter keeps its answer from coming twice
            write_response(db, EntryKey(key(1), sample_pool("r", "00"), 0, "plain"), answer())
        if number == 3:  # given back
            samples.settle(db, lease, used=False)
        elif number != 2:  # which is on its way
            samples.settle(db, lease, used=True)
    assert Bounds().enforce(db) == 1
    assert kept(db, "SELECT substr(sequence, -32) FROM sequences ORDER BY rowid") == [key(n) for n in (1, 2, 3, 4, 5)]
    assert taken(db, 1).sample == 1


def test_a_round_goes_on_where_the_last_one_was(db, monkeypatch) -> None:
    monkeypatch.setattr(bounds, "_WINDOW", 2)
    for number in range(8):
        samples.settle(db, taken(db, number), used=True)
        if number < 3:
            write_response(db, EntryKey(key(number), sample_pool("r", "00"), 0, "plain"), answer())
    some = Bounds()
    assert [some.enforce(db) for _ in range(3)] == [0, 1, 1]  # of the five that are too many two have no answer
    assert kept(db, "SELECT substr(sequence, -32) FROM sequences ORDER BY rowid") == [
        key(n) for n in (0, 1, 2, 5, 6, 7)
    ]
    assert [some.enforce(db) for _ in range(2)] == [0, 0]  # and from the beginning again
    for number in range(3):
        samples.settle(db, taken(db, 8 + number), used=True)
    db.execute("DELETE FROM responses")
    assert sum(some.enforce(db) for _ in range(5)) == 6


async def test_a_store_counts_what_it_drops(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bounds, "BOUNDS", {"uses": 1, "verifications": 1, "sequences": 1})
    for _ in range(2):
        store = SqliteStore(tmp_path / "b.db")
        store.open()
        await store.take(SAMPLED)
        for number in range(3):
            store.count("run", FIRST._replace(sample=number), served=True)
        await store.flush()
        store.close()
    assert store.losses.notes_dropped == 2
