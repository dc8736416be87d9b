"""Takes the content encoding off a request's body: interceptors, key and log read it, and few model servers do."""

from __future__ import annotations

import zlib

from proxy.core.errors import BodyTooLarge, InvalidJson, UnsupportedEncoding
from proxy.core.http import Headers, get_header

_CONTENT_ENCODING = b"content-encoding"
_KNOWN = frozenset({b"gzip", b"x-gzip", b"deflate"})
_EITHER = zlib.MAX_WBITS | 32
"""The wrapper of gzip or zlib, whichever is there."""


def unpacked(body: bytes, headers: Headers, limit: int) -> tuple[bytes, Headers]:
    """Return the body of a pipeline route and its headers without content encoding; what has none is left alone.

    Raises:
        BodyTooLarge: it unpacks to more than `limit` bytes.
        InvalidJson: it is damaged or cut.
        UnsupportedEncoding: the encoding is not known here.
    """
    if body.startswith(b"{"):
        return body, headers  # whatever the headers say, it is not compressed
    encoding = get_header(headers, _CONTENT_ENCODING)
    name = (encoding or b"").strip().lower()
    if name in {b"", b"identity"}:
        return body, headers
    if name not in _KNOWN:
        raise UnsupportedEncoding(
            f"the request body has the content encoding '{name.decode('latin-1')}', and only gzip and deflate are read;"
            " send it without (compression of requests is an option of the HTTP client)"
        )
    rest = [item for item in headers if item[0] != _CONTENT_ENCODING]
    return _inflated(body, name.decode(), limit), rest


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    inflater = zlib.decompressobj(_EITHER)
    try:
        found = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidJson(f"the request body has the content encoding '{encoding}' and is damaged: {error}") from None
    if len(found) > limit:
        raise BodyTooLarge(
            f"the request body has the content encoding '{encoding}' and unpacks to more than max_body_bytes ({limit})"
        )
    if not inflater.eof or inflater.unused_data:
        raise InvalidJson(f"the request body has the content encoding '{encoding}' and is cut, or something follows it")
    return found
