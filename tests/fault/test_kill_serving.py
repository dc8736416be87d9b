"""kill -9 of a serving sidecar, again and again under load: what clients had is kept, and every answer is right."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import random
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from proxy.store.codec import unpack
from proxy.store.sqlite import SqliteStore
from proxy.testing import ModelServer
from tests.killable import Killable
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
KILLS = 50
CLIENTS = 8

# `evalside serve` once for each line of its input, without the second that it takes to import it all.
NURSERY = """
import os, signal, sys
import proxy.app, proxy.cli
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        sys.argv = ["evalside", "serve", *line.split()]
        proxy.cli.main()
    print(child, flush=True)
"""


class Nursery:
    """Starts sidecars on one socket, one after the other, and kills them."""

    def __init__(self, process: subprocess.Popen[str], listener: socket.socket) -> None:
        self._process = process
        self._descriptor = listener.fileno()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def start(self, config: Path) -> int:
        """Start one; return a descriptor of its process. Who connects before it serves waits."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"--config {config} --fd {self._descriptor}\n")
        self._process.stdin.flush()
        return os.pidfd_open(int(self._process.stdout.readline()))

    @staticmethod
    def kill(process: int) -> None:
        """Kill it; returns when it is gone."""
        signal.pidfd_send_signal(process, signal.SIGKILL)
        gone = select.poll()
        gone.register(process, select.POLLIN)
        assert gone.poll(10_000)
        os.close(process)


@contextmanager
def nursery(log: Path) -> Iterator[Nursery]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("EVALSIDE_")},
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield Nursery(process, listener)
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Had:
    """A complete answer that a client had."""

    key: bytes
    pool: str
    sample: int
    text: str
    asked: int
    """How many answers clients had of this sidecar when they asked for this one."""

    @property
    def place(self) -> tuple[bytes, str, int]:
        """Where it is kept."""
        return self.key, self.pool, self.sample


def say(body: dict[str, Any], choice: int, call: int) -> str:
    """What the model says: to a deterministic request always the same, else never the same again."""
    question = body["messages"][0]["content"]
    return f"{question}: settled" if body["temperature"] == 0 else f"{question}: drawn in call {call}"


def text_of(raw: bytes) -> str:
    """The text of an answer in either shape."""
    if raw.startswith(b"{"):
        return str(json.loads(raw)["choices"][0]["message"]["content"])
    assert raw.endswith(b"data: [DONE]\n\n"), raw[-200:]
    events = [json.loads(event[6:]) for event in raw.split(b"\n\n") if event.startswith(b"data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


class Load:
    """Clients of a run, and what they had."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/-/runs/r/v1/chat/completions"
        self._random = random.Random(7)
        self.had: list[Had] = []
        self.broken = 0
        """Answers, or requests, that broke off."""

    async def run(self, count: int, process: int) -> list[Had]:
        """Return what clients had while one sidecar lived: it is killed amid them after `count` answers."""
        begin = len(self.had)
        reached = asyncio.Event()
        async with aiohttp.ClientSession() as session:
            tasks = [asyncio.create_task(self._ask(session, begin, count, reached)) for _ in range(CLIENTS)]
            enough = asyncio.create_task(reached.wait())
            await asyncio.wait([enough, *tasks], return_when=asyncio.FIRST_COMPLETED)
            Nursery.kill(process)
            await asyncio.sleep(0)  # what has arrived by now is read; who asks again would wait for the next sidecar
            for task in [enough, *tasks]:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert reached.is_set(), ended
        broke_off = (aiohttp.ClientError, asyncio.CancelledError)
        failures = [error for error in ended if isinstance(error, BaseException) and not isinstance(error, broke_off)]
        assert not failures, failures
        return self.had[begin:]

    async def _ask(self, session: aiohttp.ClientSession, begin: int, count: int, reached: asyncio.Event) -> None:
        while True:
            drawn, stream = self._random.random() < 0.5, self._random.random() < 0.5
            question = f"question {self._random.randrange(20 if drawn else 3000)}"
            body = {"model": "m", "messages": [{"role": "user", "content": question}], "stream": stream}
            raw = json.dumps(body | {"temperature": 0.8 if drawn else 0}).encode()
            asked = len(self.had) - begin
            try:
                async with session.post(self._url, data=raw) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, asyncio.CancelledError):
                self.broken += 1
                raise
            assert answer.status == 200, content
            text = text_of(content)
            assert text == f"{question}: settled" if not drawn else text.startswith(f"{question}: drawn in call ")
            self.had.append(_had(raw, drawn, text, answer.headers, asked))
            if len(self.had) >= begin + count:
                reached.set()


def _had(raw: bytes, drawn: bool, text: str, headers: Any, asked: int) -> Had:
    return Had(
        key=bytes.fromhex(headers["x-evalside-cache-key"]),
        pool="r/" + hashlib.sha256(raw).hexdigest()[:32] if drawn else "",
        sample=int(headers.get("x-evalside-sample", 0)),
        text=text,
        asked=asked,
    )


def configurations(folder: Path, server: ModelServer) -> dict[str, Path]:
    """One that names the model server and one that has to look who it is, in front of one database."""
    found = {}
    for name, upstream in {"named": {"namespace": "it"}, "probed": {}}.items():
        found[name] = folder / f"{name}.yaml"
        store = f"sqlite:///{folder / 'evalside.db'}"
        found[name].write_text(yaml.safe_dump({"upstream": {"url": server.url, **upstream}, "store": store}))
    return found


Kept = dict[tuple[bytes, str, int], set[str]]
"""Texts by place: key, pool and sample."""


async def test_no_answer_is_lost_wrong_or_had_twice(tmp_path) -> None:
    """A kill costs the end alone: of what clients had before they asked for something that is kept, nothing is lost."""
    lives: list[list[Had]] = []
    async with ModelServer(answer=say) as server:
        by_name = configurations(tmp_path, server)
        with nursery(tmp_path / "sidecar.log") as sidecars:
            load = Load(sidecars.url)
            for number in range(KILLS):
                process = sidecars.start(by_name["named" if number % 2 else "probed"])
                lives.append(await load.run(400 if number % 10 in {4, 9} else 20 + 10 * (number % 7), process))
    assert load.broken > KILLS
    drawn = [item.text for item in load.had if item.pool]
    assert len(drawn) > 10 * KILLS
    assert len(set(drawn)) == len(drawn)
    kept = _checked_database(tmp_path / "evalside.db")
    promised = [item for life in lives for item in _promised(life, kept)]
    assert len(promised) > 20 * KILLS
    missing = [item for item in promised if kept.get(item.place) != {item.text}]
    log = (tmp_path / "sidecar.log").read_text().splitlines()
    assert not missing, [line for line in log if '"level":"info"' not in line]


def _promised(life: list[Had], kept: Kept) -> list[Had]:
    """Return what clients had of a sidecar before they asked for the last of its answers that is in the database."""
    return life[: max((item.asked for item in life if item.pool and kept.get(item.place) == {item.text}), default=0)]


def _checked_database(path: Path) -> Kept:
    """Return the texts that are kept, by place: one each, and no place is held by the dead."""
    store = SqliteStore(path)
    store.open()
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        # The last one's answers still wait for a request, with which their model server can be looked for.
        waiting = "SELECT holder FROM unconfirmed WHERE holder NOT NULL"
        held = f"SELECT count(*) FROM slots WHERE holder NOT NULL AND holder NOT IN ({waiting})"
        assert connection.execute(held).fetchone() == (0,)
        kept: Kept = {}
        columns = "key, pool, sample, body"
        for key, pool, sample, body in connection.execute(
            f"SELECT {columns} FROM responses UNION ALL SELECT {columns} FROM unconfirmed"
        ):
            kept.setdefault((key, pool, sample), set()).add(text_of(unpack(body)))
    assert all(len(texts) == 1 for texts in kept.values())
    return kept


def written(sidecar: Killable, count: int) -> bool:
    """Whether so many answers are in the database."""
    with closing(sqlite3.connect(sidecar.database)) as connection:
        return bool(connection.execute("SELECT count(*) FROM responses").fetchone()[0] >= count)


def test_two_workers_that_are_killed_together_hand_out_no_sample_twice(tmp_path) -> None:
    """Their clients go on with those that come after them, which find every lease of the dead free."""
    body = {"model": "m", "temperature": 0.8, "messages": [{"role": "user", "content": "question"}]}
    had: list[str] = []
    stopped = threading.Event()

    def ask(sidecar: Killable) -> None:
        while not stopped.is_set():
            with suppress(OSError, http.client.HTTPException, json.JSONDecodeError):  # it was killed
                answer = sidecar.ask("/-/runs/r/v1/chat/completions", body)
                had.append(answer["choices"][0]["message"]["content"])

    with ModelServer(answer=say) as server, Killable(tmp_path, server.url, workers=2) as sidecar:
        with ThreadPoolExecutor(CLIENTS) as clients:
            asking = [clients.submit(ask, sidecar) for _ in range(CLIENTS)]
            for number in range(6):
                wait_for(partial(written, sidecar, 40 * (number + 1)), 60)
                if number < 5:
                    sidecar.kill()
                    sidecar.start()
            stopped.set()
        for task in asking:
            task.result()
        sidecar.ask("/-/runs")  # one worker has written all it had
        with closing(sqlite3.connect(sidecar.database)) as connection:
            freed = "SELECT count(*) FROM slots WHERE holder NOT NULL"
            wait_for(lambda: connection.execute(freed).fetchone() == (0,))
            rows = connection.execute("SELECT sample, body FROM responses ORDER BY sample").fetchall()
    kept = [text_of(unpack(raw)) for _, raw in rows]
    assert len(set(had)) == len(had)
    assert len({sample for sample, _ in rows}) == len(set(kept)) == len(rows)
    assert len(set(had) & set(kept)) > 200  # but for what was on its way


def test_a_replay_goes_on_after_a_kill_without_a_sample_twice(tmp_path) -> None:
    body = {"model": "m", "temperature": 0.8, "messages": [{"role": "user", "content": "question"}]}
    with ModelServer(answer=say) as server, Killable(tmp_path, server.url) as sidecar:

        def ask(count: int) -> list[str]:
            answers = [sidecar.ask("/-/runs/r/v1/chat/completions", body) for _ in range(count)]
            return [answer["choices"][0]["message"]["content"] for answer in answers]

        first = ask(30)
        with closing(sqlite3.connect(sidecar.database)) as connection:
            wait_for(lambda: connection.execute("SELECT count(*) FROM responses").fetchone() == (30,))
        sidecar.new_pass("r")
        again = ask(15)
        sidecar.kill()
        sidecar.start()
        again += ask(15)
        assert again == first
        assert len(server.generation_requests) == 30
