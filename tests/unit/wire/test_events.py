import pytest

from proxy.wire.events import documents
from proxy.wire.sse import Event


def test_the_object_in_each_event():
    assert documents([Event("", b'{"a": 1}'), Event("x", b"{}")]) == [{"a": 1}, {}]
    assert documents([]) == []


@pytest.mark.parametrize("data", [b"", b"[DONE]", b"[]", b"1", b"NaN", b'{"a":', b"\xff"])
def test_anything_else_makes_the_whole_unreadable(data):
    assert documents([Event("", b"{}"), Event("", data)]) is None
