"""The upstream of the benchmarks, in a process of its own: `python -m tests.bench.upstream` prints its URL.

A raw protocol on uvloop that answers with prepared bytes: it has to be far faster than what stands in front of it. The
model that is asked for chooses the answer (`ANSWERS`), so that every proxy passes the choice on.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from typing import cast

import uvloop

DELAY = 0.05
"""Seconds before the answer of model `slow`."""
EVENTS = 200
"""Of the stream of model `burst`, without `[DONE]`."""
PACED_EVENTS = 25
PACE = 0.004
"""Seconds between the events of model `paced`, which say when they were sent."""

_MODEL = re.compile(rb'"model": ?"(\w+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: %s\r\n"
_STREAM_HEAD = _HEAD % (b"200 OK", b"text/event-stream") + b"Transfer-Encoding: chunked\r\n\r\n"


def _json(document: object, status: bytes = b"200 OK") -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode()
    return _HEAD % (status, b"application/json") + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _completion(content: str, logprobs: object = None) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 0,
        "model": "plain",
        "choices": [choice if logprobs is None else {**choice, "logprobs": {"content": logprobs}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110},
    }


def _chunk(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def _piece(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    document = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0, "model": "plain"}
    return json.dumps({**document, "choices": [choice]}, separators=(",", ":")).encode()


def _tokens(size: int) -> list[dict[str, object]]:
    top = [{"token": f"word{rank}", "logprob": -0.125 * rank, "bytes": [119, 111, 114]} for rank in range(5)]
    token = {"token": "word", "logprob": -0.125, "bytes": [119, 111, 114, 100], "top_logprobs": top}
    return [token] * (size // len(json.dumps(token, separators=(",", ":"))))


_MODELS = ("plain", "long", "slow", "burst", "paced", "cut", "gone")
ANSWERS = {
    b"plain": _json(_completion("x" * 700)),
    b"slow": _json(_completion("x" * 700)),
    b"long": _json(_completion("word " * 400, _tokens(500_000))),
}
_LISTED = _json({"object": "list", "data": [{"id": name, "object": "model"} for name in _MODELS]})
_ABSENT = _json({"error": {"message": "there is no such route"}}, b"404 Not Found")
_BURST = [*(_chunk(_piece("word ")) for _ in range(EVENTS - 1)), _chunk(_piece("", "stop"))]
_END = _chunk(b"[DONE]") + b"0\r\n\r\n"


class _Server(asyncio.Protocol):
    """One connection. Requests of a client come one after the other, as wrk and proxies send them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        head, found, body = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if not found or (length is not None and len(body) < int(length[1])):
            return
        self._received = b""
        if not head.startswith(b"POST"):
            self._transport.write(_LISTED if b" /v1/models " in head else _ABSENT)
            return
        model = _MODEL.search(body)
        self._answer(model[1] if model is not None else b"plain")

    def _answer(self, model: bytes) -> None:
        if model == b"burst":
            self._transport.write(_STREAM_HEAD)
            self._next_of_burst(iter(_BURST))
        elif model == b"paced":
            self._transport.write(_STREAM_HEAD)
            self._next_of_paced(PACED_EVENTS)
        elif model == b"gone":  # faults, for the soak
            self._transport.abort()
        elif model == b"cut":
            self._transport.write(ANSWERS[b"plain"][:-100])
            self._transport.close()
        elif model == b"slow":
            self._loop.call_later(DELAY, self._write, ANSWERS[model])
        else:
            self._transport.write(ANSWERS.get(model, ANSWERS[b"plain"]))

    def _next_of_burst(self, events: Iterator[bytes]) -> None:
        """Write one event for each turn of the loop, so that each is a packet of its own."""
        event = next(events, _END)
        self._write(event)
        if event is not _END:
            self._loop.call_soon(self._next_of_burst, events)

    def _next_of_paced(self, left: int) -> None:
        if left == 0:
            self._write(_END)
            return
        self._write(_chunk(_piece(f"at {time.monotonic_ns()} ", "stop" if left == 1 else None)))
        self._loop.call_later(PACE, self._next_of_paced, left - 1)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():  # the client may have left while it waited
            self._transport.write(data)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(_Server, "127.0.0.1", 0, backlog=2048)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    sys.exit(uvloop.run(_serve()))
