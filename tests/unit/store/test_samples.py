"""What the contract of run stores does not say; see `RunStoreContract`."""

import dataclasses
import sqlite3

import pytest

from proxy.store import samples
from proxy.store.base import EntryKey, RunState, Sequence, sample_pool
from proxy.store.rows import write_response
from proxy.store.schema import migrate
from proxy.testing.contracts import answer

OF = Sequence("r", "0123", bytes(32))


@pytest.fixture
def db():
    made = sqlite3.connect(":memory:", isolation_level=None)
    migrate(made)
    yield made
    made.close()


def kept(db: sqlite3.Connection, run: str, sample: int) -> None:
    write_response(db, EntryKey(OF.key, sample_pool(run, OF.received), sample, "plain"), answer())


def test_only_a_new_run_takes_a_source(db: sqlite3.Connection) -> None:
    assert samples.new_pass(db, "b", source="a", mode="read") == RunState(0, "a", "read")
    assert samples.new_pass(db, "b", source="c", mode=None) == RunState(1, "a", "read")
    assert samples.new_pass(db, "b", source=None, mode="on") == RunState(2, "a", "on")


def test_the_runs_that_are_replayed_nearest_first(db: sqlite3.Connection) -> None:
    samples.new_pass(db, "b", source="a", mode=None)
    samples.new_pass(db, "c", source="b", mode=None)
    assert samples.ancestors(db, "c") == ["c", "b", "a"]
    assert samples.take(db, OF._replace(run="c"), "h").pools == ("c/0123", "b/0123", "a/0123")


def test_a_run_that_was_made_from_itself_replays_itself_once(db: sqlite3.Connection) -> None:
    samples.new_pass(db, "a", source="b", mode=None)
    samples.new_pass(db, "b", source="a", mode=None)
    assert samples.ancestors(db, "a") == ["a", "b"]


def test_a_replay_has_the_samples_of_the_source_too(db: sqlite3.Connection) -> None:
    samples.new_pass(db, "r", source="a", mode=None)
    kept(db, "a", 2)
    kept(db, "r", 4)
    leases = [samples.take_recorded(db, OF, f"h{number}") for number in range(3)]
    assert [lease and lease.sample for lease in leases] == [2, 4, None]


def test_a_high_index_costs_no_row_for_those_below_it(db: sqlite3.Connection) -> None:
    kept(db, "r", 2**31 - 1)
    lease = samples.take_recorded(db, OF, "h")
    assert lease is not None
    assert lease.sample == 2**31 - 1
    assert db.execute("SELECT count(*) FROM slots").fetchone() == (1,)


def test_what_is_given_back_by_another_holder_changes_nothing(db: sqlite3.Connection) -> None:
    lease = samples.take(db, OF, "one")
    for used in (False, True):
        samples.settle(db, dataclasses.replace(lease, holder="two"), used=used)
    assert samples.take(db, OF, "three").sample == 1


def test_uses_are_counted_by_run_and_pass(db: sqlite3.Connection) -> None:
    place = (bytes(32), "", 0)
    for asked, served in ((1, 0), (0, 2)):
        samples.count(db, "r", place, asked=asked, served=served)
    samples.new_pass(db, "r", source=None, mode=None)
    samples.count(db, "r", place, asked=0, served=1)
    samples.count(db, "default", place, asked=1, served=0)
    found = db.execute('SELECT run, "pass", asked, served FROM uses ORDER BY run, "pass"').fetchall()
    assert found == [("default", 0, 1, 0), ("r", 0, 1, 2), ("r", 1, 0, 1)]
    assert db.execute("SELECT run FROM runs").fetchall() == [("r",)]


def test_a_deleted_run_leaves_nothing_and_takes_nothing_of_others(db: sqlite3.Connection) -> None:
    for run in ("r", "r.1", "r0", "rr"):
        kept(db, run, 0)
        samples.take(db, OF._replace(run=run), run)
        samples.count(db, run, (OF.key, sample_pool(run, OF.received), 0), asked=1, served=0)
    write_response(db, EntryKey(OF.key, "", 0, "plain"), answer())
    assert samples.delete_run(db, "r") == 1
    pools = [row[0] for row in db.execute("SELECT pool FROM responses ORDER BY pool")]
    assert pools == ["", "r.1/0123", "r0/0123", "rr/0123"]
    for table in ("slots", "sequences", "uses", "runs"):
        assert [row[0] for row in db.execute(f"SELECT run FROM {table} ORDER BY run")] == ["r.1", "r0", "rr"]


def test_a_run_that_others_replay_is_not_deleted(db: sqlite3.Connection) -> None:
    samples.new_pass(db, "b", source="a", mode=None)
    with pytest.raises(ValueError, match="run 'b' was made from run 'a'"):
        samples.delete_run(db, "a")


def test_an_answer_of_a_run_that_was_deleted_meanwhile_is_not_kept(db: sqlite3.Connection) -> None:
    lease = samples.take(db, OF, "h")
    samples.delete_run(db, OF.run)
    assert samples.settle(db, lease, used=True) is False


def holders(db: sqlite3.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT holder FROM slots ORDER BY sample")]


def test_only_a_sample_that_is_served_is_used_up_with_its_worker(db: sqlite3.Connection) -> None:
    kept(db, "r", 0)
    kept(db, "r", 1)
    served, asked, new = (samples.take(db, OF, f"h{n}", serves=n != 1) for n in range(3))
    assert (served.replayed, asked.replayed, new.replayed) == (True, False, False)
    assert holders(db) == ["h0-replayed", "h1", "h2"]
    unread = samples.mark(db, served, replayed=False)
    late = samples.mark(db, new, replayed=True)
    assert holders(db) == [unread.holder, asked.holder, late.holder] == ["h0", "h1", "h2-replayed"]
    for lease in (unread, asked, late):
        assert samples.settle(db, lease, used=True)


@pytest.mark.parametrize("replayed", [True, False])
def test_a_sample_whose_client_left_while_it_was_marked_is_free(db: sqlite3.Connection, replayed: bool) -> None:
    if not replayed:
        kept(db, "r", 0)
    lease = samples.take(db, OF, "h")
    samples.mark(db, lease, replayed=replayed)
    assert samples.settle(db, lease, used=False)
    assert samples.take(db, OF, "next").sample == 0


def test_a_lease_of_a_pass_that_has_ended_is_not_marked(db: sqlite3.Connection) -> None:
    old = samples.take(db, OF, "old")
    samples.new_pass(db, "r", source=None, mode=None)
    samples.take(db, OF, "new")
    samples.mark(db, old, replayed=True)
    assert holders(db) == ["new"]


def test_a_use_is_counted_as_asked_or_served(db: sqlite3.Connection) -> None:
    for served, times in ((True, 2), (False, 3)):
        samples.count_use(db, samples.Use("r", (bytes(32), "", 0), served), times)
    assert db.execute("SELECT asked, served FROM uses").fetchall() == [(3, 2)]
