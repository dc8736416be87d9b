import pytest

from proxy.core.hop import HOP_BY_HOP, end_to_end


def test_duplicates_order_and_case_survive():
    headers = [(b"Set-Cookie", b"a"), (b"X-B", b"1"), (b"set-cookie", b"b")]
    assert end_to_end(headers) == headers


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_end_here_in_any_case(name):
    assert end_to_end([(name.title(), b"x"), (b"accept", b"*/*")]) == [(b"accept", b"*/*")]


def test_fields_named_in_any_connection_field_end_here():
    headers = [
        (b"X-One", b"1"),
        (b"Connection", b"close, x-one"),
        (b"connection", b"X-TWO"),
        (b"x-two", b"2"),
        (b"k", b"v"),
    ]
    assert end_to_end(headers) == [(b"k", b"v")]


def test_the_caller_can_name_more():
    assert end_to_end([(b"Host", b"h"), (b"a", b"b")], frozenset({b"host"})) == [(b"a", b"b")]
