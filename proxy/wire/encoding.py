"""Content encodings, for those who read a body that is relayed compressed."""

from __future__ import annotations

import zlib

from proxy.core.errors import AnswerNotEditable

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


class Inflater:
    """A transform of a stream that takes its content encoding off.

    Args:
        encoding: the Content-Encoding field.

    Raises:
        AnswerNotEditable: the encoding is not known here, or (from `feed` and `end`) the stream is damaged or cut.
    """

    def __init__(self, encoding: bytes) -> None:
        name = encoding.strip().lower()
        if name not in {b"gzip", b"x-gzip", b"deflate"}:
            raise AnswerNotEditable(
                f"the answer has the content encoding '{name.decode('latin-1')}', and an interceptor has to change it;"
                " have the model server send it without"
            )
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either wrapper is recognized

    def feed(self, chunk: bytes) -> bytes:
        """Return what the chunk unpacks to."""
        try:
            return self._inflater.decompress(chunk)
        except zlib.error as error:
            raise AnswerNotEditable(f"the compressed answer is damaged: {error}") from None

    def end(self) -> bytes:
        """Return nothing: all that came was unpacked at once."""
        if not self._inflater.eof:
            raise AnswerNotEditable("the compressed answer is cut")
        return b""


def _inflate(body: bytes, window: int) -> bytes | None:
    inflater = zlib.decompressobj(window)
    try:
        decoded = inflater.decompress(body, LARGEST)
    except zlib.error:
        return None
    return decoded if inflater.eof and not inflater.unused_data else None
