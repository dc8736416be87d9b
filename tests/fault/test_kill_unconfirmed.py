"""kill -9 between an answer and the confirmation that its model server is still the same: the answer is not lost.

The model server says nothing about itself meanwhile, as one that is busy does for seconds.
"""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.testing import ModelServer, Reply
from tests.killable import Killable
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]
CHAT = "/v1/chat/completions"
SLOW = 600.0
"""Seconds: longer than any test."""


def body(temperature: float, text: str = "question", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "temperature": temperature, "messages": [{"role": "user", "content": text}], **fields}


DRAWN = body(0.8)
SETTLED = body(0)


def say(asked: dict[str, Any], choice: int, call: int) -> str:
    return f"drawn in call {call}"


@dataclass(frozen=True)
class Said:
    raw: bytes
    cache: str
    sample: str | None

    @property
    def text(self) -> str:
        return str(json.loads(self.raw)["choices"][0]["message"]["content"])


class Scene:
    """A model server that can be made to say nothing about itself, and a sidecar in front of it."""

    def __init__(self, server: ModelServer, sidecar: Killable) -> None:
        self.server = server
        self.sidecar = sidecar
        self._delay = 0.0
        server.on("/version", lambda request: Reply(json={"version": "0.11.0"}, delay=self._delay))

    def silent(self) -> None:
        """The sidecar knows who is there, and from now on it cannot look again."""
        self.ask(body(0, "who is there?"))
        wait_for(lambda: self.rows("responses") == 1)
        self.slow()

    def slow(self) -> None:
        """The server says nothing about itself."""
        self._delay = SLOW

    def start(self) -> None:
        """Start the sidecar before a server that speaks."""
        self._delay = 0.0
        self.sidecar.start()

    def stop(self) -> None:
        """Have the sidecar end as it wants to."""
        self.sidecar.stop()

    def ask(self, asked: dict[str, Any], path: str = "/-/runs/r" + CHAT, **headers: str) -> Said:
        request = urllib.request.Request(self.sidecar.url + path, json.dumps(asked).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = answer.headers
            return Said(answer.read(), told["x-evalside-cache"], told["x-evalside-sample"])

    def rows(self, table: str, where: str = "1") -> int:
        with closing(sqlite3.connect(self.sidecar.database)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])

    def kill(self, waiting: int, *, exchanged: bool = False) -> None:
        """Kill the sidecar once so many answers are on the disk, and start it again before a server that speaks."""
        wait_for(lambda: self.rows("unconfirmed") == waiting)
        self.sidecar.kill()
        if exchanged:
            self.server.stop()
            self.server.start()  # at another time: that is what tells it from the one before
        self.start()

    @property
    def calls(self) -> int:
        return len(self.server.generation_requests)


@contextmanager
def scene(folder: Any, **options: Any) -> Iterator[Scene]:
    with ModelServer(answer=say) as server, Killable(folder, server.url, **options) as sidecar:
        yield Scene(server, sidecar)


def test_samples_that_clients_had_are_there_and_none_comes_twice(tmp_path) -> None:
    with scene(tmp_path) as made:
        made.silent()
        first = [made.ask(DRAWN) for _ in range(3)]
        made.kill(waiting=3)
        first += [made.ask(DRAWN) for _ in range(2)]
        assert [said.sample for said in first] == ["0", "1", "2", "3", "4"]
        assert len({said.text for said in first}) == 5
        wait_for(lambda: made.rows("responses", "pool != ''") == 5)
        calls = made.calls
        made.sidecar.new_pass("r")
        again = [made.ask(DRAWN) for _ in range(5)]
        assert [(said.cache, said.text) for said in again] == [("hit", said.text) for said in first]
        assert made.calls == calls
        assert made.rows("unconfirmed") == 0
        assert made.rows("uses", "pool != '' AND asked = 1 AND \"pass\" = 0") == 5  # each was asked for once


def test_a_pass_that_begins_before_they_are_confirmed_has_them(tmp_path) -> None:
    with scene(tmp_path) as made:
        made.silent()
        first = [made.ask(DRAWN) for _ in range(3)]
        made.kill(waiting=3)
        made.sidecar.new_pass("r")
        calls = made.calls
        assert [made.ask(DRAWN).raw for _ in range(3)] == [said.raw for said in first]
        assert made.calls == calls


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_settled_answer_is_a_hit_for_everyone(tmp_path, stream: bool) -> None:
    with scene(tmp_path) as made:
        made.silent()
        first = made.ask(SETTLED | {"stream": stream})
        made.kill(waiting=1)
        again = made.ask(SETTLED | {"stream": stream}, CHAT)
        assert (again.cache, again.raw) == ("hit", first.raw)
        assert made.rows("unconfirmed") == 0


def test_what_another_model_server_gave_is_dropped_and_counted(tmp_path) -> None:
    with scene(tmp_path) as made:
        made.silent()
        made.ask(DRAWN)
        made.ask(SETTLED)
        made.kill(waiting=2, exchanged=True)
        assert [made.ask(asked).cache for asked in (DRAWN, SETTLED)] == ["miss", "miss"]
        wait_for(lambda: made.rows("losses", "name = 'answers_unconfirmed' AND rows = 2") == 1)
        wait_for(lambda: made.rows("responses") == 3)
        assert made.rows("unconfirmed") == 0
        assert made.rows("slots") == 1  # of the other model server's sample: its place is free
        assert made.rows("slots", "holder NOTNULL") == 0


def test_only_who_asked_can_say_that_it_is_still_the_same(tmp_path) -> None:
    """Behind a gateway another key may lead to another model server."""
    key = {"authorization": "Bearer a-key-of-somebody-else"}
    with scene(tmp_path) as made:
        made.silent()
        made.ask(SETTLED)
        made.kill(waiting=1)
        assert made.ask(SETTLED, **key).cache == "miss"
        assert made.rows("unconfirmed", "client = ''") == 1  # the new answer may wait, too
        made.ask(body(0, "something else"))
        wait_for(lambda: made.rows("unconfirmed") == 0)


def test_a_sidecar_that_is_stopped_leaves_what_it_could_not_confirm(tmp_path) -> None:
    with scene(tmp_path) as made:
        made.silent()
        first = made.ask(DRAWN)
        made.stop()
        assert made.rows("unconfirmed") == 1
        made.start()
        made.sidecar.new_pass("r")
        assert made.ask(DRAWN).raw == first.raw
        assert made.rows("losses") == 0


def test_a_refreshed_sample_takes_the_place_of_the_old_one(tmp_path) -> None:
    refreshes = {"x-evalside-cache": "refresh"}
    with scene(tmp_path) as made:
        old = [made.ask(DRAWN) for _ in range(2)]
        wait_for(lambda: made.rows("responses") == 2)
        made.sidecar.new_pass("r")
        first = made.ask(DRAWN)
        made.slow()
        second = made.ask(DRAWN, **refreshes)
        made.kill(waiting=1)
        made.sidecar.new_pass("r")
        assert [made.ask(DRAWN).raw for _ in range(2)] == [first.raw, second.raw]
        assert [first.raw, second.raw != old[1].raw] == [old[0].raw, True]
        assert made.rows("responses") == 2
