import pytest

from proxy.testing import Reply


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"body": b"x", "json": None}, "body and json"),
        ({"after_bytes": 1, "after_chunks": 1, "chunks": [b"x"]}, "give one of them"),
        ({"after_chunks": 1, "body": b"x"}, "use after_bytes"),
        ({"trailers": [(b"a", b"b")], "body": b"x"}, "chunks"),
    ],
)
def test_meaningless_combinations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Reply(**fields)


def test_none_is_a_json_body_of_its_own():
    assert Reply(json=None).content == b"null"
    assert Reply().content == b""


def test_headers_may_be_a_mapping():
    assert Reply(headers={"Retry-After": "1"}).header_list == [(b"Retry-After", b"1")]


def test_empty_chunks_are_left_out():
    assert list(Reply(chunks=[b"a", b"", b"b"]).pieces()) == [b"a", b"b"]


def test_the_pause_may_depend_on_the_chunk():
    reply = Reply(chunks=[b"a", b"b", b"c"], chunk_delay=lambda index: index * 2.0)
    assert [reply.pause_before(index) for index in range(3)] == [0.0, 2.0, 4.0]
