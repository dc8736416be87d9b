"""kill -9 while samples are asked for again: the pass goes on with the sample that was on its way."""

from __future__ import annotations

import json
import sqlite3
import threading
import urllib.request
from contextlib import closing, suppress
from typing import Any

import pytest

from proxy.store.codec import unpack
from proxy.testing import ModelServer
from tests.killable import Killable
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]
SAMPLES = 6
DRAWN = {"model": "m", "temperature": 0.8, "messages": [{"role": "user", "content": "question"}]}


def say(body: dict[str, Any], choice: int, call: int) -> str:
    return f"drawn in call {call}"


def ask(sidecar: Killable) -> tuple[int, str]:
    """The number of the sample that comes next, and what its answer says."""
    url = f"{sidecar.url}/-/runs/r/v1/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(DRAWN).encode()), timeout=60) as answer:
        raw = answer.read()
        return int(answer.headers["x-evalside-sample"]), text_of(raw)


def text_of(raw: bytes) -> str:
    return str(json.loads(raw)["choices"][0]["message"]["content"])


def kept(sidecar: Killable) -> dict[int, str]:
    with closing(sqlite3.connect(sidecar.database)) as connection:
        rows = connection.execute("SELECT sample, body FROM responses").fetchall()
    return {sample: text_of(unpack(body)) for sample, body in rows}


def killed_amid(sidecar: Killable, server: ModelServer) -> None:
    """Ask once more, and kill the sidecar while the model server is at it."""
    server.options.latency = 60.0
    asked = len(server.generation_requests)

    def give_up() -> None:
        with suppress(OSError, ValueError):
            ask(sidecar)

    asking = threading.Thread(target=give_up)
    asking.start()
    wait_for(lambda: len(server.generation_requests) > asked)
    sidecar.kill()
    asking.join()
    server.options.latency = 0.0
    sidecar.start()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sample_that_is_refreshed_when_it_is_killed_is_the_next_one(tmp_path, workers: int) -> None:
    with (
        ModelServer(answer=say) as server,
        Killable(tmp_path, server.url, workers=workers, upstream={"namespace": "it"}) as sidecar,
    ):
        first = dict(ask(sidecar) for _ in range(SAMPLES))
        wait_for(lambda: kept(sidecar) == first)
        sidecar.ask("/-/runs/r", {"mode": "refresh"})
        second = dict(ask(sidecar) for _ in range(2))
        wait_for(lambda: kept(sidecar) == first | second)
        killed_amid(sidecar, server)
        rest = [ask(sidecar) for _ in range(2, SAMPLES)]
        assert [number for number, _ in rest] == list(range(2, SAMPLES))
        second |= dict(rest)
        wait_for(lambda: kept(sidecar) == second)
    assert not set(first.values()) & set(second.values())
