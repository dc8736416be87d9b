import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.blocks import whole_blocks

ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.sampled_from([b"data: a", b": c", "data: \u2028é".encode(), b"event: x"])


def run(chunks):
    pending, found = b"", []
    for chunk in chunks:
        blocks, pending = whole_blocks(pending, chunk)
        found += blocks
    return found, pending


@settings(deadline=None)
@given(st.data(), st.lists(st.tuples(LINES, ENDS), max_size=6))
def test_nothing_is_lost_wherever_the_stream_is_cut(data, lines):
    body = b"".join(line + end + end for line, end in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    found, pending = run(chunks)
    assert b"".join(found) + pending == body
    assert [block.strip() for block in found if block.strip()] == [line for line, _ in lines]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_block_is_whole_with_its_empty_line(end):
    block = b": c" + end + b"data: a" + end + end
    assert run([block + b"data: b" + end]) == ([block], b"data: b" + end)
