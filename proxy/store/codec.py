"""How bodies and header lists are laid into a row: data, never code."""

from __future__ import annotations

import zlib

import orjson

from proxy.core.http import Headers

_PLAIN = b"\x00"
_ZLIB = b"\x01"
_WORTH_COMPRESSING = 2048
"""Bytes. Shorter bodies do not shrink enough to pay for it."""


def pack(body: bytes) -> bytes:
    """Return the stored form of a body: one byte that says how, then the bytes, compressed where that is worth it."""
    if len(body) < _WORTH_COMPRESSING:
        return _PLAIN + body
    return _ZLIB + zlib.compress(body, 1)


def unpack(stored: bytes) -> bytes:
    """Return the body.

    Raises:
        ValueError: `stored` is not a body that `pack` made.
    """
    marker, data = stored[:1], stored[1:]
    if marker == _PLAIN:
        return data
    if marker == _ZLIB:
        try:
            return zlib.decompress(data)
        except zlib.error as error:
            raise ValueError(f"a stored body is damaged: {error}") from None
    raise ValueError(f"a stored body begins with {marker!r}, which this version does not know")


def pack_optional(body: bytes | None) -> bytes | None:
    """Return `pack(body)`, None for None."""
    return None if body is None else pack(body)


def pack_headers(headers: Headers | None) -> bytes | None:
    """Return header fields as a JSON array of pairs, one character per byte."""
    if headers is None:
        return None
    return orjson.dumps([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])


def unpack_headers(stored: bytes) -> Headers:
    """Return the header fields that `pack_headers` laid down."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(stored)]
