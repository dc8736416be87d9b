"""A model server whose every byte the test writes itself, in step with the client under test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Peer:
    """A listening socket; the test accepts, reads and answers in the loop that the client runs on."""

    listener: socket.socket
    url: str
    accepted: list[socket.socket] = field(default_factory=list)

    async def accept(self) -> socket.socket:
        """The next connection."""
        taken, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted.append(taken)
        return taken

    @property
    def is_asked(self) -> bool:
        """Whether a connection waits to be accepted."""
        with contextlib.suppress(BlockingIOError):
            self.accepted.append(self.listener.accept()[0])
            return True
        return False


@contextlib.contextmanager
def peer(family: socket.AddressFamily = socket.AF_INET, backlog: int = 16) -> Iterator[Peer]:
    """Listen on loopback."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    with socket.create_server((host, 0), family=family, backlog=backlog) as listener:
        listener.setblocking(False)
        shown = f"[{host}]" if ":" in host else host
        made = Peer(listener, f"http://{shown}:{listener.getsockname()[1]}")
        try:
            yield made
        finally:
            for taken in made.accepted:
                taken.close()


async def request_on(connection: socket.socket) -> bytes:
    """The head of the next request, and whatever of its body came with it."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = await asyncio.get_running_loop().sock_recv(connection, 65_536)
        assert more, "the client hung up"
        received += more
    return received


async def is_hung_up_on(connection: socket.socket) -> bool:
    """Whether the client closes the connection; waits for it, or for bytes."""
    try:
        return not await asyncio.get_running_loop().sock_recv(connection, 65_536)
    except ConnectionResetError:
        return True


def say(connection: socket.socket, data: bytes) -> None:
    """Send it all, at once."""
    connection.setblocking(True)
    connection.sendall(data)
    connection.setblocking(False)


def reset(connection: socket.socket) -> None:
    """Break the connection, as a server that dies does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def has_ipv6() -> bool:
    """Whether loopback has an address of IPv6."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False
