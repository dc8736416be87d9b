import pytest

from proxy.core.errors import BodyTooLarge, InvalidHeader
from proxy.edge.body import ClientLeft, read_body


def receiving(*messages):
    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    return receive


def part(body=b"", more=False):
    return {"type": "http.request", "body": body, "more_body": more}


async def never():
    raise AssertionError("the body must not be read")


async def test_parts_are_joined():
    assert await read_body(receiving(part(b"a", True), part(b"", True), part(b"b")), [], 2) == b"ab"
    assert await read_body(receiving({"type": "http.request"}), [], 2) == b""


async def test_announced_length_is_refused_unread():
    for length in (b"3", b"9" * 5000):
        with pytest.raises(BodyTooLarge) as caught:
            await read_body(never, [(b"content-length", length)], 2)
        assert caught.value.headers == []


async def test_connection_ends_where_the_body_may_never_come():
    with pytest.raises(BodyTooLarge) as caught:
        await read_body(never, [(b"content-length", b"3"), (b"expect", b"100-continue")], 2)
    assert caught.value.headers == [(b"connection", b"close")]


async def test_found_length_is_refused():
    with pytest.raises(BodyTooLarge, match="3 bytes or more, max_body_bytes is 2"):
        await read_body(receiving(part(b"ab", True), part(b"c", True)), [], 2)


@pytest.mark.parametrize("length", [b"abc", b"-1", b"", b"1.0", b"\xb2"])
async def test_length_that_is_no_number(length):
    with pytest.raises(InvalidHeader):
        await read_body(never, [(b"content-length", length)], 2)


async def test_client_that_left():
    with pytest.raises(ClientLeft):
        await read_body(receiving(part(b"a", True), {"type": "http.disconnect"}), [], 2)
