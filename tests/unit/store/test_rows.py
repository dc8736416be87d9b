import dataclasses
import sqlite3

import pytest

from proxy.store.base import EntryKey, KeySource
from proxy.store.rows import COLUMNS, read_response, write_response
from proxy.store.schema import migrate
from proxy.testing.contracts import FIRST, answer


@pytest.fixture
def db():
    made = sqlite3.connect(":memory:", isolation_level=None)
    migrate(made)
    yield made
    made.close()


FULL = dataclasses.replace(
    answer(b"x" * 5000),
    run="r",
    source=KeySource("n", "POST", "/v1/é", "q=1", [("openai-beta", "é"), ("openai-beta", "b")]),
    prompt=b"12345678",
)


@pytest.mark.parametrize("response", [answer(), FULL])
def test_an_answer_comes_back_with_all_its_facts(db: sqlite3.Connection, response) -> None:
    write_response(db, FIRST, response)
    assert read_response(db.execute(f"SELECT {COLUMNS} FROM responses").fetchone()) == response
    [(identity, size, stored)] = db.execute(
        "SELECT identity, size, length(headers) + length(request) + length(body) FROM responses"
    )
    assert (identity, size) == (response.source.identity, stored)


def test_a_row_of_an_older_version_has_no_source(db: sqlite3.Connection) -> None:
    write_response(db, FIRST, FULL)
    db.execute("UPDATE responses SET asked = '', prompt = NULL")
    found = read_response(db.execute(f"SELECT {COLUMNS} FROM responses").fetchone())
    assert (found.source, found.prompt) == (KeySource("", "POST", "", "", []), b"")


@pytest.mark.parametrize("damage", ["asked = '{'", "body = x'FF00'", "body = x'01FF'", "headers = x'7B'"])
def test_a_damaged_row_is_an_error(db: sqlite3.Connection, damage: str) -> None:
    write_response(db, FIRST, FULL)
    db.execute(f"UPDATE responses SET {damage}")
    with pytest.raises(ValueError, match=r".+"):
        read_response(db.execute(f"SELECT {COLUMNS} FROM responses").fetchone())


def test_what_is_there_stays_unless_it_is_replaced_and_other_samples_are_added(db: sqlite3.Connection) -> None:
    for body, replace in ((b"1", False), (b"2", False), (b"3", True)):
        write_response(db, FIRST, answer(body), replace=replace)
    for _ in range(2):
        write_response(db, EntryKey(FIRST.key, FIRST.pool, None, "plain"), answer(b"new"))
    found = db.execute(f"SELECT sample, {COLUMNS} FROM responses ORDER BY sample").fetchall()
    assert [(row[0], read_response(row[1:]).body) for row in found] == [(0, b"3"), (1, b"new"), (2, b"new")]
