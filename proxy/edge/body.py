"""Reads a request's body, up to a limit."""

from __future__ import annotations

from proxy.core.errors import BodyTooLarge
from proxy.core.http import Headers, get_header
from proxy.edge.messages import Receive


class ClientLeft(Exception):
    """The client left before its request was whole; there is nobody to answer."""


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: it is announced or found to be longer than `limit` bytes.
        ClientLeft: the connection closed first.
    """
    length = get_header(headers, b"content-length")
    if length is not None and int(length) > limit:
        raise _too_large(int(length), limit)
    chunks = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(size, limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(size: int, limit: int) -> BodyTooLarge:
    # The rest of the body is not read, so the connection cannot serve another request.
    return BodyTooLarge(
        f"the request body has {size} bytes or more, max_body_bytes is {limit}", headers=[(b"connection", b"close")]
    )
