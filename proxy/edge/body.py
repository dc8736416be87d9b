"""Reads a request's body, up to a limit."""

from __future__ import annotations

from proxy.core.errors import BodyTooLarge, InvalidHeader
from proxy.core.http import Headers, get_header
from proxy.edge.messages import Receive

_DIGITS = 18
"""A length of more digits is beyond any limit, and need not become a number to know it."""


class ClientLeft(Exception):
    """The client left before its request was whole; there is nobody to answer."""


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: it is announced or found to be longer than `limit` bytes.
        ClientLeft: the connection closed first.
        InvalidHeader: its Content-Length is not a number.
    """
    _check_length(headers, limit)
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


def _check_length(headers: Headers, limit: int) -> None:
    length = get_header(headers, b"content-length")
    if length is None:
        return
    if not length.isdigit():
        raise InvalidHeader(f"content-length '{length.decode('latin-1')}' is not a number of bytes")
    if len(length) > _DIGITS or int(length) > limit:
        error = _too_large(length.decode(), limit)
        if get_header(headers, b"expect") is not None:
            # The client may now leave the body out, so where the next request begins cannot be known.
            error.headers.append((b"connection", b"close"))
        raise error


def _too_large(size: int | str, limit: int) -> BodyTooLarge:
    # The connection stays open: the server drops what is still coming. Closing it would reset the connection under
    # a client that is still sending, and it would never see this answer.
    return BodyTooLarge(f"the request body has {size} bytes or more, max_body_bytes is {limit}")
