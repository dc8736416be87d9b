import sqlite3
import time

from proxy.store import queries
from proxy.store.schema import migrate


def test_what_was_seen_and_verified_is_written_as_of_now() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    before = time.time()
    for facts in ({"version": "1"}, {"version": "2"}):  # the first time counts
        db.execute(queries.SAW, queries.seen("r", "n", "vllm", facts))
    for differs in (None, "content"):
        db.execute(queries.VERIFIED, queries.verification("r", b"k", differs))
    [(facts_kept, first_at)] = db.execute("SELECT facts, first_at FROM run_identities")
    assert facts_kept == '{"version":"1"}'
    assert before <= first_at <= time.time()
    assert db.execute("SELECT agreed, differs FROM verifications").fetchall() == [(1, None), (0, "content")]
    db.close()
