import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proxy.store.base import Sequence
from proxy.store.schema import migrate
from proxy.store.sqlite import SqliteStore
from proxy.store.workers import Worker, free

ROOT = Path(__file__).parents[3]
OF = Sequence("run", "00", bytes(32))
TAKER = """
import asyncio, sys
from pathlib import Path
from proxy.store.base import Sequence
from proxy.store.sqlite import SqliteStore

async def main(path):
    store = SqliteStore(path)
    store.open()
    for _ in range(3):
        print((await store.take(Sequence("run", "00", bytes(32)))).sample)
    print("held", flush=True)
    sys.stdin.read()

asyncio.run(main(Path(sys.argv[1])))
"""


def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    store.open()
    return store


async def test_what_a_living_worker_holds_is_not_free_and_what_a_killed_one_held_is(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    process = subprocess.Popen(  # noqa: ASYNC220 - it is there for the whole test
        [sys.executable, "-c", TAKER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert [process.stdout.readline().strip() for _ in range(4)] == ["0", "1", "2", "held"]
    store = opened(path)
    assert (await store.take(OF)).sample == 3
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (await store.take(OF)).sample == 4  # found out at the next start
    other = opened(path)
    assert [(await other.take(OF)).sample for _ in range(4)] == [0, 1, 2, 5]
    store.close()
    assert [(await other.take(OF)).sample for _ in range(3)] == [3, 4, 6]
    other.close()
    assert list((tmp_path / "b.db-workers").iterdir()) == []


@pytest.fixture
def connection():
    made = sqlite3.connect(":memory:", isolation_level=None)
    migrate(made)
    yield made
    made.close()


def held(connection: sqlite3.Connection, holder: str, sample: int) -> None:
    connection.execute("INSERT INTO slots (run, sequence, sample, holder) VALUES ('r', x'00', ?, ?)", (sample, holder))


def holders(connection: sqlite3.Connection) -> list[str | None]:
    return [row[0] for row in connection.execute("SELECT holder FROM slots ORDER BY sample")]


def test_only_the_leases_of_one_worker_are_freed(connection: sqlite3.Connection) -> None:
    for sample, holder in enumerate(["a" * 16 + "-1", "b" * 16 + "-1", "a" * 16 + "-2"]):
        held(connection, holder, sample)
    free(connection, "a" * 16)
    assert holders(connection) == [None, "b" * 16 + "-1", None]


def test_the_gone_are_buried_and_the_living_are_not(tmp_path: Path, connection: sqlite3.Connection) -> None:
    one, other, left = (Worker(tmp_path / "b.db") for _ in range(3))
    for worker in (one, other, left):
        worker.open()
    left.close()
    folder = tmp_path / "b.db-workers"
    dead = folder / ("d" * 16 + ".lock")
    dead.touch()
    names = [one.name, other.name, left.name, "d" * 16]
    for sample, name in enumerate(names):
        held(connection, f"{name}-1", sample)
    one.bury(connection)
    assert holders(connection) == [f"{one.name}-1", f"{other.name}-1", None, None]
    assert {path.stem for path in folder.iterdir()} == {one.name, other.name}
    assert (folder.stat().st_mode & 0o777, (folder / f"{one.name}.lock").stat().st_mode & 0o777) == (0o700, 0o600)
    other.close()
    one.bury(connection)
    assert holders(connection) == [f"{one.name}-1", None, None, None]
    one.close()


def test_a_worker_that_is_just_starting_is_never_taken_for_dead(tmp_path: Path, monkeypatch) -> None:
    """Between making its file and locking it another worker removes it: it makes a new one."""
    worker, made = Worker(tmp_path / "b.db"), os.open
    removed: list[object] = []

    def removing(path, flags, mode=0o777):
        descriptor = made(path, flags, mode)
        if not removed and str(path).endswith(".lock"):
            removed.append(path)
            Path(path).unlink()
        return descriptor

    monkeypatch.setattr("proxy.store.workers.os.open", removing)
    worker.open()
    assert len(removed) == 1
    assert (tmp_path / "b.db-workers" / f"{worker.name}.lock").exists()
    worker.close()


def test_many_that_start_together_all_live(tmp_path: Path) -> None:
    connections = [sqlite3.connect(tmp_path / "b.db", isolation_level=None, check_same_thread=False) for _ in range(16)]
    migrate(connections[0])
    workers = [Worker(tmp_path / "b.db") for _ in connections]

    def start(worker: Worker, connection: sqlite3.Connection) -> None:
        worker.open()
        held(connection, f"{worker.name}-1", workers.index(worker))
        worker.bury(connection)

    threads = [threading.Thread(target=start, args=pair) for pair in zip(workers, connections, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert holders(connections[0]) == [f"{worker.name}-1" for worker in workers]
    for worker, connection in zip(workers, connections, strict=True):
        worker.close()
        connection.close()


def test_a_file_that_vanishes_while_it_is_looked_at_is_no_matter(tmp_path: Path, connection, monkeypatch) -> None:
    worker = Worker(tmp_path / "b.db")
    worker.open()
    gone = tmp_path / "b.db-workers" / "gone.lock"
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [gone])
    worker.bury(connection)
    monkeypatch.undo()
    assert not gone.exists()
    worker.close()


def test_who_is_alone_knows_it(tmp_path: Path) -> None:
    one, other = (Worker(tmp_path / "b.db") for _ in range(2))
    one.open()
    assert one.alone
    other.open()
    assert not one.alone
    other.close()
    assert one.alone
    one.close()
