"""kill -9 under load: what was acknowledged is there, and what is older than the flush interval; the file is whole."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fault
ROOT = Path(__file__).parents[3]
KILLS = 15

WRITER = """
import asyncio, sys, time
from pathlib import Path
from proxy.store.base import EntryKey, StoredResponse
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import record

async def main(path, generation):
    store = SqliteStore(path)
    store.open()
    number = 0
    while True:
        for _ in range(20):
            name = f"{generation}-{number}"
            at = EntryKey(name.encode().ljust(32), "", 0, "plain")
            response = StoredResponse(200, [], b"x" * 3000, "chat", b"{}", 1.0, time.time())
            store.put(at, response)
            store.append(record(name))
            sys.stdout.write(f"put {number} {time.monotonic()}\\n")
            number += 1
            await asyncio.sleep(0)
        if number % 60 == 0:
            await store.flush()
            sys.stdout.write(f"flushed {number}\\n")
        sys.stdout.flush()
        await asyncio.sleep(0.002)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def test_nothing_that_was_acknowledged_is_lost(tmp_path) -> None:
    database = tmp_path / "b.db"
    promised: dict[str, int] = {}
    for generation in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(database), str(generation)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        put: list[float] = []
        flushed = 0
        for line in process.stdout:  # let it run for a varying amount of work, then kill it amid it
            word, number, *when = line.split()
            if word == "flushed":
                flushed = int(number)
                if flushed >= 60 * (1 + generation % 4):
                    break
            else:
                put.append(float(when[0]))
        process.kill()
        for line in process.communicate()[0].splitlines():
            word, *rest = line.split()
            if word == "put" and len(rest) == 2:
                put.append(float(rest[1]))
            elif word == "flushed" and rest:
                flushed = max(flushed, int(rest[0]))
        old = sum(1 for when in put if when < put[-1] - 1.0)  # ten flush intervals: a loaded machine is slow
        promised[str(generation)] = max(flushed, old)
    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = {row[0].decode().strip() for row in connection.execute("SELECT key FROM responses")}
    logged = {row[0] for row in connection.execute("SELECT id FROM exchanges")}
    connection.close()
    expected = {f"{generation}-{number}" for generation, count in promised.items() for number in range(count)}
    assert len(expected) >= KILLS * 60
    assert expected <= kept
    assert expected <= logged
