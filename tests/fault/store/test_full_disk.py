"""A real sidecar whose disk is full: answers go on, the loss is counted and shown, nothing stored is lost."""

import os
import resource
import sqlite3
from typing import Any

import pytest

from proxy.store.base import LOSSES
from proxy.testing import ModelServer
from tests.unit.serving import Serving
from tests.waiting import wait_for

pytestmark = pytest.mark.fault


def limit_files(process: int, size: int) -> None:
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def findings(serving: Serving) -> dict[str, Any]:
    """What was lost."""
    return {item["finding"]: item for item in serving.get("/-/runs")["findings"] if item["finding"] in LOSSES}


def test_a_full_disk_costs_rows_and_no_answers(tmp_path) -> None:
    with ModelServer(answer="word " * 400) as server, Serving(tmp_path, server.url) as serving:
        assert [serving.ask(seed=0), serving.ask(seed=0)] == ["miss", "hit"]
        assert findings(serving) == {}
        folder = tmp_path / ".evalside"
        limit_files(
            serving.process.pid, max(path.stat().st_size for path in folder.iterdir() if path.suffix != ".db-shm")
        )

        for seed in range(1, 6):  # every one of them is a 200, or urlopen raises
            assert serving.ask(seed=seed, pad=os.urandom(60_000).hex()) == "miss"
        wait_for(lambda: "cache_rows_lost" in findings(serving))  # an answer is lost when it was to become an entry
        lost = findings(serving)
        assert lost["cache_rows_lost"]["count"] + lost["log_rows_lost"]["count"] >= 2
        assert lost["cache_rows_lost"]["last_error"]
        assert serving.ask(seed=0) == "hit"

        limit_files(serving.process.pid, resource.RLIM_INFINITY)
        assert [serving.ask(seed=99), serving.ask(seed=99)] == ["miss", "hit"]
        serving.get("/-/runs")
        after = findings(serving)
        serving.end()

    connection = sqlite3.connect(folder / "evalside.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    stored = dict(connection.execute("SELECT name, rows FROM losses"))
    statuses = [row[0] for row in connection.execute("SELECT cache FROM exchanges ORDER BY seq")]
    connection.close()
    assert stored == {name: item["count"] for name, item in after.items()}
    assert (statuses[:2], statuses[-2:]) == (["miss", "hit"], ["miss", "hit"])
