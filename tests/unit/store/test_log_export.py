import json
import stat
from pathlib import Path
from typing import Any

import pytest

from proxy.core.redact import Redactor
from proxy.store import samples
from proxy.store.base import StoreError
from proxy.store.log_export import export_log
from proxy.store.saved import ALL, Saved
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import record

SECRET = "sk-of-the-sidecar"


@pytest.fixture
async def db(tmp_path: Path) -> Path:
    store = SqliteStore(tmp_path / "b.db")
    store.open()
    for number in range(3):
        made = record(
            f"e{number}",
            status=200,
            request_headers=[(b"x-a", b"\xe9")],
            request_body=b'{"n":1.50,"big":18446744073709551616}',
            sent_body=b"{}" if number == 1 else None,
            response_body=[b'{"a":"' + SECRET.encode() + b'"}', b"data: x\n\n", b"\xff"][number],
            changes=b"[]" if number else None,
        )
        made.run = "r" if number < 2 else None
        store.append(made)
        await store.flush()
        await store.change(lambda db: samples.new_pass(db, "r", source=None, mode=None))
    store.close()
    return tmp_path / "b.db"


def lines(db: Path, saved: Saved = ALL, **wanted: Any) -> list[dict[str, Any]]:
    target = db.with_name("out.jsonl")
    count = export_log(
        db, target, run=wanted.get("run"), number=wanted.get("number"), saved=saved, redactor=Redactor([SECRET])
    )
    found = [json.loads(line) for line in target.read_text().splitlines()]
    assert (len(found), stat.S_IMODE(target.stat().st_mode)) == (count, 0o600)
    return found


def test_each_exchange_is_a_line_oldest_first(db) -> None:
    found = lines(db)
    assert [(line["id"], line["run"], line["pass"], line["status"]) for line in found] == [
        ("e0", "r", 0, 200),
        ("e1", "r", 0, 200),
        ("e2", "default", 0, 200),
    ]
    assert found[0]["request_headers"] == [["x-a", "é"]]
    assert (found[0]["sent"], found[1]["sent"]) == (None, {})
    assert (found[0]["changes"], found[1]["response"], found[2]["response"]) == ([], "data: x\n\n", {"base64": "/w=="})


def test_numbers_keep_their_digits_and_no_secret_is_shown(db) -> None:
    lines(db)
    text = db.with_name("out.jsonl").read_text()
    assert '"n":1.50,"big":18446744073709551616' in text
    assert SECRET not in text
    assert "[redacted]" in text


def test_of_one_run_or_one_pass(db) -> None:
    assert [line["id"] for line in lines(db, run="r")] == ["e0", "e1"]
    assert lines(db, run="r", number=1) == []


def test_only_so_many_requests_and_answers_are_in_it(db) -> None:
    found = lines(db, Saved(1, 2))
    assert [("request" in line, "request_headers" in line, "sent" in line) for line in found] == [
        (True, True, True),
        (False, False, False),
        (False, False, False),
    ]
    assert [("response" in line, "response_headers" in line) for line in found] == [(True, True)] * 2 + [(False, False)]


def test_a_file_that_cannot_be_written_is_named(db) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        export_log(db, db / "x", run=None, number=None, saved=ALL, redactor=Redactor())
