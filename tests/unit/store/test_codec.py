import pytest

from proxy.store.codec import pack, pack_headers, pack_optional, unpack, unpack_headers

HEADERS = [(b"a", b"1"), (b"a", b"2"), (b"x-odd", bytes(range(32, 256)))]


@pytest.mark.parametrize("body", [b"", b"short", b"\x00\x01\xff", b"long " * 1000, bytes(range(256)) * 20])
def test_a_body_comes_back_as_it_was(body):
    assert unpack(pack(body)) == body


def test_only_a_long_body_is_compressed():
    assert pack(b"a" * 2047) == b"\x00" + b"a" * 2047
    assert len(pack(b"a" * 2048)) < 100


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"", "begins with b''"),
        (b"\x02abc", "begins with b'.x02'"),
        (b"\x01abc", "damaged"),
        (pack(b"a" * 4000)[:-4], "damaged"),
    ],
)
def test_what_was_not_stored_by_it_is_refused(stored, message):
    with pytest.raises(ValueError, match=message):
        unpack(stored)


def test_headers_come_back_byte_for_byte_and_in_order():
    stored = pack_headers(HEADERS)
    assert stored is not None
    assert unpack_headers(stored) == HEADERS


def test_nothing_stays_nothing():
    assert (pack_optional(None), pack_headers(None)) == (None, None)
    assert pack_optional(b"") == pack(b"")
