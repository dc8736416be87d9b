"""One stream after the other, read by a bare socket: when its first chunk comes, and how late each chunk is."""

from __future__ import annotations

import re
import socket
import time
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.bench import cores, load
from tests.bench.workloads import Workload

_STREAM = Workload("paced", model="paced", stream=True)
_SENT = re.compile(rb"at (\d+) ")
_END = b"0\r\n\r\n"


class Paced(NamedTuple):
    """Medians, in milliseconds."""

    first_chunk_ms: float
    """From the request to the first chunk."""
    chunk_ms: float
    """From the upstream's sending of a chunk to its arrival; the first of a stream left out."""


def measure(url: str, *, salt: str, streams: int = 25) -> Paced:
    """Return the times of `streams` streams on one connection. Raises `load.Void` where one is not an answer."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    firsts: list[float] = []
    delays: list[float] = []
    with cores.on(cores.OTHERS), socket.create_connection((parts.hostname, parts.port or 80), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(streams):
            content = load.body(_STREAM, salt, number).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            asked = time.monotonic_ns()
            connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content)
            arrivals = _arrivals(connection)
            firsts.append((arrivals[0][1] - asked) / 1e6)
            delays += [(arrived - sent) / 1e6 for sent, arrived in arrivals[1:]]
    return Paced(median(firsts), median(delays))


def _arrivals(connection: socket.socket) -> list[tuple[int, int]]:
    """Return when each chunk of one stream was sent and when it came, in nanoseconds."""
    found: list[tuple[int, int]] = []
    received = b""
    while not received.endswith(_END):
        chunk = connection.recv(65_536)
        now = time.monotonic_ns()
        if not chunk or (not received and not chunk.startswith(b"HTTP/1.1 200")):
            raise load.Void(f"one stream: {(received + chunk)[:300]!r}")
        received += chunk
        found += [(int(sent), now) for sent in _SENT.findall(received)[len(found) :]]
    return found
