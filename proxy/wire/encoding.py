"""Content encodings, for those who read a body that is relayed compressed."""

from __future__ import annotations

import zlib

LARGEST = 256 * 1024 * 1024
"""Bytes. A body that unpacks to more is not read: a small one can unpack to anything."""


def decode(body: bytes, encoding: bytes | None) -> bytes | None:
    """Return the body without its content encoding, None where it is cut, damaged, too large or in one not known here.

    Args:
        body: the raw bytes.
        encoding: the Content-Encoding field; None and `identity` mean there is none.
    """
    name = (encoding or b"identity").strip().lower()
    if name == b"identity":
        return body
    if name in {b"gzip", b"x-gzip"}:
        return _inflate(body, zlib.MAX_WBITS | 16)
    if name == b"deflate":  # RFC 9110 means zlib; some servers send it without the wrapper
        wrapped = _inflate(body, zlib.MAX_WBITS)
        return wrapped if wrapped is not None else _inflate(body, -zlib.MAX_WBITS)
    return None


def _inflate(body: bytes, window: int) -> bytes | None:
    inflater = zlib.decompressobj(window)
    try:
        decoded = inflater.decompress(body, LARGEST)
    except zlib.error:
        return None
    return decoded if inflater.eof and not inflater.unused_data else None
