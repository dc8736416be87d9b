import sqlite3
import threading
from pathlib import Path

from proxy.store.tally import Tally
from proxy.store.writer import Writer


def writer() -> Writer:
    return Writer(lambda connection: None)


def database(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE counts (name TEXT, count INTEGER)")
    return connection


def counts(path: Path) -> list[tuple[str, int]]:
    return sorted(sqlite3.connect(path).execute("SELECT * FROM counts").fetchall())


def add(connection: sqlite3.Connection, name: str, count: int) -> None:
    connection.execute("INSERT INTO counts VALUES (?, ?)", (name, count))


def test_what_was_counted_is_written_together(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    thread = writer()
    tally = Tally(thread, int.__add__, add)
    tally.add([("a", 1), ("b", 1)])
    tally.add([("a", 1)])
    thread.start(database(path))
    thread.close()
    assert counts(path) == [("a", 2), ("b", 1)]


def test_a_batch_that_is_written_again_counts_the_same(tmp_path: Path) -> None:
    tried = threading.Event()

    def once_locked(connection: sqlite3.Connection, name: str, count: int) -> None:
        if not tried.is_set():
            tried.set()
            raise sqlite3.OperationalError("disk I/O error")
        add(connection, name, count)

    path = tmp_path / "a.db"
    thread = writer()
    Tally(thread, int.__add__, once_locked).add([("a", 1), ("a", 1), ("b", 1)])
    thread.start(database(path))
    thread.close()
    assert counts(path) == [("a", 2), ("b", 1)]
