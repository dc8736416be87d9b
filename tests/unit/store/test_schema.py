import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.store.base import StoreError
from proxy.store.sqlite import SqliteStore


def make(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    store.close()


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close()
    return names


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path / "b.db")
    before = dump(tmp_path / "b.db")
    make(tmp_path / "b.db")
    assert dump(tmp_path / "b.db") == before


def test_a_start_that_was_killed_before_its_first_migration_is_made_good(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "b.db")
    connection.execute("CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set, name, applied_at)")
    connection.close()
    make(tmp_path / "b.db")
    make(tmp_path / "fresh.db")
    assert tables(tmp_path / "b.db") == tables(tmp_path / "fresh.db")
    assert "responses" in tables(tmp_path / "b.db")


def test_processes_that_start_together_share_one_new_database(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from proxy.store.sqlite import SqliteStore\n"
        "s = SqliteStore(pathlib.Path(sys.argv[1])); sys.stdin.read(1); s.open(); s.close()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "new" / "b.db")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    errors = [process.communicate(b"x", timeout=30)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 4, errors


def newer(path: Path) -> str:
    make(path)
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('evalside', 'm999_future', '')"
    )
    connection.commit()
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return "newer evalside.*m999_future.*upgrade evalside"


def garbage(path: Path) -> str:
    path.write_bytes(b"this is a text and no database\n" * 100)
    return "is not usable.*move it aside"


def damaged(path: Path) -> str:
    make(path)
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(data)
    return "is not usable.*move it aside"


def foreign(path: Path) -> str:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    return "another program's database.*bookmarks"


@pytest.mark.parametrize("prepare", [newer, garbage, damaged, foreign])
def test_what_cannot_be_used_is_refused_and_left_unchanged(tmp_path: Path, prepare) -> None:
    path = tmp_path / "b.db"
    message = prepare(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=f"{message}.*Nothing was changed"):
        SqliteStore(path).open()
    assert path.read_bytes() == before
