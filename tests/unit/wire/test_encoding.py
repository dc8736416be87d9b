import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import encoding
from proxy.wire.encoding import decode


def raw_deflate(body):
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(body) + squeezer.flush()


@given(st.binary(max_size=200))
@pytest.mark.parametrize(
    ("name", "squeeze"),
    [
        (None, bytes),
        (b" Identity", bytes),
        (b"gzip", gzip.compress),
        (b"X-GZIP", gzip.compress),
        (b"deflate", zlib.compress),
        (b"deflate", raw_deflate),
    ],
)
def test_a_body_comes_back_as_it_was(name, squeeze, body):
    assert decode(squeeze(body), name) == body


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (gzip.compress(b"abc", mtime=0)[:-1], b"gzip"),
        (gzip.compress(b"abc", mtime=0) + b"x", b"gzip"),
        (b"not gzip", b"gzip"),
        (b"", b"gzip"),
        (b"\xff\xff", b"deflate"),
        (b"abc", b"br"),
        (gzip.compress(gzip.compress(b"abc", mtime=0), mtime=0), b"gzip, gzip"),
    ],
)
def test_what_is_cut_damaged_or_unknown_is_not_decoded(body, name):
    assert decode(body, name) is None


def test_a_body_that_unpacks_to_too_much_is_not_read(monkeypatch):
    monkeypatch.setattr(encoding, "LARGEST", 1000)
    assert decode(gzip.compress(bytes(1000)), b"gzip") == bytes(1000)
    assert decode(gzip.compress(bytes(1001)), b"gzip") is None
