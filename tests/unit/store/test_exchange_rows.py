import sqlite3
from contextlib import closing

from proxy.store.base import ExchangeRecord
from proxy.store.codec import unpack
from proxy.store.exchange_rows import write_exchange
from proxy.store.schema import migrate


def test_a_row_has_the_parts_compressed_and_their_size():
    record = ExchangeRecord("id-1", None, 1.5, "POST", "/v1/completions", "completions")
    record.request_body, record.response_body = b"x" * 5000, b"y"
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        write_exchange(db, record)
        [row] = db.execute("SELECT run, size, request_body, sent_body, response_body FROM exchanges")
    run, size, asked, sent, answered = row
    assert (run, unpack(asked), sent, unpack(answered)) == ("default", b"x" * 5000, None, b"y")
    assert len(asked) < 500
    assert len(asked) + len(answered) <= size < 500
