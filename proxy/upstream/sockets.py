"""What sockets to a model server have in common."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 6))
"""Seconds of silence before the first probe, seconds between probes, probes lost before the connection is dead."""


def keep_alive(made: Any) -> None:
    """Have the kernel find out when the peer is gone: a long generation says nothing for minutes."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                made.setsockopt(socket.IPPROTO_TCP, option, value)
