from hypothesis import given
from hypothesis import strategies as st

from proxy.core.collect import Collector


@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(0, 60))
def test_the_beginning_is_kept_and_what_is_missing_is_told(chunks, limit):
    collector = Collector(limit)
    for chunk in chunks:
        collector.feed(chunk)
    whole = b"".join(chunks)
    assert collector.body == whole[:limit]
    assert collector.cut == (len(whole) > limit)


def test_a_body_that_is_exactly_as_long_as_the_limit_is_not_cut():
    collector = Collector(4)
    collector.feed(b"ab")
    collector.feed(b"cd")
    collector.feed(b"")
    assert (collector.body, collector.cut) == (b"abcd", False)
    collector.feed(b"e")
    assert (collector.body, collector.cut) == (b"abcd", True)
