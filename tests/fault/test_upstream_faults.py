"""Every way in which the test kit's server fails, on plain and streamed requests."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from proxy.testing import Fault, Reply
from tests.rawhttp import ask, with_length

CHAT = b"/v1/chat/completions"
EVENTS = [b'data: {"choices":[]}\n\n', b"data: [DONE]\n\n"]
HARMLESS = {
    Fault.ANSWER_BEFORE_BODY,
    Fault.HALF_CLOSE,
    Fault.CLOSE_AFTER_ANSWER,
    Fault.CLOSE_ON_NEXT_REQUEST,
    Fault.EXTRA_CONTINUE,
}
BEFORE_HEADERS = {
    Fault.CLOSE_BEFORE_ANSWER,
    Fault.RESET_BEFORE_ANSWER,
    Fault.CLOSE_IN_STATUS_LINE,
    Fault.GARBAGE,
    Fault.STALL_BEFORE_HEADERS,
}
STALLS = {Fault.STALL_BEFORE_HEADERS, Fault.STALL_IN_BODY}

pytestmark = pytest.mark.fault


def chat(stream: bool) -> bytes:
    document = {"model": "m", "temperature": 0, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return with_length(b"POST", CHAT, json.dumps(document).encode())


def eventually(condition) -> None:
    """For what another thread does after the last byte is out; it is there at once or the test fails."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


CASES = [(fault, True) for fault in Fault] + [(fault, False) for fault in Fault if fault not in STALLS]
"""A plain answer may take as long as it likes, so a stall is none of its faults."""


@pytest.mark.parametrize(
    ("fault", "stream"),
    CASES,
    ids=[f"{fault.name.lower()}-{'streamed' if stream else 'plain'}" for fault, stream in CASES],
)
def test_fault(model_server, sidecar, fault, stream):
    server = model_server()
    proxy = sidecar(server, upstream={"timeout": {"first_byte": 0.2, "idle": 0.2}})

    def tasks() -> int:
        return proxy.on_loop(_count_tasks)

    before = tasks()
    server.enqueue(Reply(chunks=EVENTS, fault=fault) if stream else Reply(json={"choices": []}, fault=fault))
    with proxy.connect() as connection:
        answer = ask(connection, chat(stream))
    if fault in HARMLESS:
        assert (answer.status, answer.cut) == (200, False)
    elif fault in BEFORE_HEADERS or not stream:
        stalled = fault is Fault.STALL_BEFORE_HEADERS
        assert (answer.status, answer.code) == ((504, "upstream_timeout") if stalled else (502, "upstream_incomplete"))
    elif answer.header(b"content-length") is not None:
        assert answer.cut
    else:
        code = "upstream_stalled" if fault is Fault.STALL_IN_BODY else "upstream_incomplete"
        assert f'"{code}"'.encode() in answer.body
        assert b"[DONE]" not in answer.body or fault is Fault.WRONG_CONTENT_LENGTH
    with proxy.connect() as connection:
        again = ask(connection, chat(stream))
        assert again.header(b"x-evalside-cache") == b"miss"
        assert (again.status, again.cut) == (200, False)
        assert ask(connection, chat(stream)).header(b"x-evalside-cache") == b"hit"
    eventually(lambda: server.connections_open <= 2)
    eventually(lambda: tasks() == before)


async def _count_tasks() -> int:
    return len([task for task in asyncio.all_tasks() if "_count_tasks" not in repr(task)])


def test_a_status_that_http_lacks_is_an_incomplete_answer(model_server, sidecar):
    server = model_server()
    server.enqueue(Reply(status=799, json={}))
    with sidecar(server).connect() as connection:
        answer = ask(connection, chat(stream=False))
    assert (answer.status, answer.code) == (502, "upstream_incomplete")
