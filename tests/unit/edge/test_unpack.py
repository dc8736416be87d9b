import gzip
import zlib

import pytest

from proxy.core.errors import BodyTooLarge, InvalidJson, UnsupportedEncoding
from proxy.edge.unpack import unpacked

BODY = b'{"model": "m"}'
ACCEPT = (b"accept", b"*/*")


def said(encoding: bytes) -> list[tuple[bytes, bytes]]:
    return [ACCEPT, (b"content-encoding", encoding)]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (b"gzip", gzip.compress(BODY, mtime=0)),
        (b" X-GZIP", gzip.compress(BODY, mtime=0)),
        (b"deflate", zlib.compress(BODY)),
    ],
)
def test_what_is_packed_is_unpacked(encoding, packed):
    assert unpacked(packed, said(encoding), len(BODY)) == (BODY, [ACCEPT])


@pytest.mark.parametrize("headers", [[ACCEPT], said(b"identity"), said(b"")])
def test_what_is_not_packed_is_left_alone(headers):
    for body in (BODY, b" " + BODY, b"", b"[]"):
        assert unpacked(body, headers, 1) == (body, headers)


def test_json_that_is_said_to_be_packed_is_left_alone():
    assert unpacked(BODY, said(b"gzip"), 100) == (BODY, said(b"gzip"))


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip"])
def test_an_encoding_that_is_not_known_is_named_with_a_way_out(encoding):
    with pytest.raises(UnsupportedEncoding, match=f"'{encoding.decode()}'.*gzip and deflate.*send it without"):
        unpacked(b"\x28\xb5", said(encoding), 100)


@pytest.mark.parametrize(
    ("packed", "wrong"),
    [
        (gzip.compress(BODY, mtime=0)[:-3], "is cut"),
        (gzip.compress(BODY, mtime=0) + b"more", "follows"),
        (b"\x1f\x8b\x08\x00nothing of it is true", "is damaged"),
    ],
)
def test_what_cannot_be_unpacked_says_so(packed, wrong):
    with pytest.raises(InvalidJson, match=f"'gzip'.*{wrong}"):
        unpacked(packed, said(b"gzip"), 100)


def test_a_small_body_that_unpacks_to_a_large_one_is_refused():
    with pytest.raises(BodyTooLarge, match=r"unpacks to more than max_body_bytes \(1000\)"):
        unpacked(gzip.compress(bytes(10_000_000)), said(b"gzip"), 1000)
