"""HTTP/1.1 on a bare socket: what a client library would hide can be written and seen."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Header = tuple[bytes, bytes]


@dataclass
class RawAnswer:
    status: int
    headers: list[Header]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    cut: bool = False
    """The connection ended before the body did."""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]

    def header(self, name: bytes) -> bytes | None:
        return next(iter(self.values(name)), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


def head(method: bytes, target: bytes, headers: Iterable[Header] = ()) -> bytes:
    lines = [b"%s %s HTTP/1.1\r\n" % (method, target)]
    given = list(headers)
    if all(name.lower() != b"host" for name, _ in given):
        lines.append(b"Host: localhost\r\n")
    return b"".join(lines) + b"".join(b"%s: %s\r\n" % item for item in given) + b"\r\n"


def with_length(method: bytes, target: bytes, body: bytes, headers: Iterable[Header] = ()) -> bytes:
    return head(method, target, [*headers, (b"Content-Length", b"%d" % len(body))]) + body


def with_chunks(method: bytes, target: bytes, parts: Iterable[bytes], headers: Iterable[Header] = ()) -> bytes:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return head(method, target, [*headers, (b"Transfer-Encoding", b"chunked")]) + chunks + b"0\r\n\r\n"


class Reader:
    """Reads answers from a connection, one after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def start(self) -> RawAnswer:
        line = self._file.readline()
        if not line:
            raise ConnectionError("the server closed the connection without an answer")
        answer = RawAnswer(int(line.split(b" ")[1]), [])
        while (line := self._file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.partition(b":")
            answer.headers.append((name, value.strip()))
        return answer

    def chunk(self) -> bytes | None:
        """The next chunk, empty at the end, None where the connection was cut."""
        line = self._file.readline()
        if not line:
            return None
        size = int(line, 16)
        data = self._file.read(size)
        if len(data) < size or self._file.read(2) != b"\r\n":
            return None
        return data

    def answer(self, method: bytes = b"POST") -> RawAnswer:
        answer = self.start()
        if method == b"HEAD" or answer.status in {100, 204, 304}:
            return answer
        length = answer.header(b"content-length")
        if length is not None:
            answer.body = self._file.read(int(length))
            answer.cut = len(answer.body) < int(length)
        else:
            while chunk := self.chunk():
                answer.chunks.append(chunk)
            answer.cut = chunk is None
            answer.body = b"".join(answer.chunks)
        return answer


def ask(connection: socket.socket, request: bytes, method: bytes = b"POST") -> RawAnswer:
    """One request and its answer."""
    connection.sendall(request)
    return Reader(connection).answer(method)
