import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import InterceptorFailed, NotEditable, UpstreamIncomplete
from proxy.core.stream import ByteStream, Outcome

CHUNKS = st.lists(st.binary(max_size=6), max_size=8)


class Source:
    """An async iterator of chunks that may end in an error, and counts how often it was closed."""

    def __init__(self, chunks, error=None):
        self.chunks = list(chunks)
        self.error = error
        self.closed = 0

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.chunks:
            return self.chunks.pop(0)
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration

    async def aclose(self):
        self.closed += 1

    def stream(self):
        return ByteStream(self, self.aclose)


class Record:
    """A tap that remembers; it raises at one of its calls where told to."""

    def __init__(self, fail_at=None, fail_done=False):
        self.seen = b""
        self.calls = 0
        self.outcomes = []
        self.fail_at = fail_at
        self.fail_done = fail_done

    def feed(self, chunk):
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyError("tap")
        self.seen += chunk

    def done(self, outcome):
        self.outcomes.append(outcome)
        if self.fail_done:
            raise KeyError("done")


class Pairs:
    """A transform that gives bytes on two by two, doubled by a mark, and the odd one at the end."""

    def __init__(self, mark=b"", fail_at_end=None):
        self.held = b""
        self.mark = mark
        self.fail_at_end = fail_at_end

    def feed(self, chunk):
        self.held += chunk
        even = len(self.held) // 2 * 2
        given, self.held = self.held[:even], self.held[even:]
        return given.replace(b"\0", b"\0" + self.mark)

    def end(self):
        if self.fail_at_end is not None:
            raise self.fail_at_end
        return self.held


class Broken:
    def feed(self, chunk):
        raise ZeroDivisionError("odd")

    def end(self):
        return b""


async def drain(stream):
    return b"".join([chunk async for chunk in stream])


@given(CHUNKS, st.integers(0, 4))
async def test_taps_see_exactly_the_bytes_and_one_end(chunks, count):
    stream = Source(chunks).stream()
    taps = [Record() for _ in range(count)]
    for tap in taps:
        stream.tap(tap)
    assert await drain(stream) == b"".join(chunks)
    await stream.aclose()
    assert stream.outcome is Outcome.COMPLETE
    for tap in taps:
        assert tap.seen == b"".join(chunks)
        assert tap.outcomes == [Outcome.COMPLETE]


@given(CHUNKS, st.lists(st.sampled_from([b"", b"+", b"\0"]), max_size=4))
async def test_what_transforms_hold_back_passes_later_stages(chunks, marks):
    stream = Source(chunks).stream()
    expected = b"".join(chunks)
    before = Record()
    stream.tap(before)
    for mark in marks:
        stream.map(Pairs(mark), name="pairs")
        even = len(expected) // 2 * 2
        expected = expected[:even].replace(b"\0", b"\0" + mark) + expected[even:]
    after = Record()
    stream.tap(after)
    body = await drain(stream)
    assert [mapped.name for mapped in stream.maps] == ["pairs"] * len(marks)
    assert before.seen == b"".join(chunks)
    assert after.seen == body
    assert after.outcomes == [Outcome.COMPLETE]
    assert body == expected


@given(CHUNKS, st.integers(1, 10), st.booleans())
async def test_a_tap_that_raises_is_dropped_and_the_stream_goes_on(chunks, fail_at, fail_done):
    stream = Source(chunks).stream()
    bad, good = Record(fail_at, fail_done), Record()
    stream.tap(bad)
    stream.tap(good)
    assert await drain(stream) == b"".join(chunks)
    dropped = bad.calls == fail_at
    assert bad.outcomes == ([] if dropped else [Outcome.COMPLETE])
    assert len(stream.tap_errors) == (1 if dropped or fail_done else 0)
    assert good.seen == b"".join(chunks)


async def test_a_transform_that_raises_names_its_interceptor():
    stream = Source([b"a", b"b"]).stream()
    before, after = Record(), Record()
    stream.tap(before)
    stream.map(Broken(), name="reasoning")
    stream.tap(after)
    with pytest.raises(InterceptorFailed, match="'reasoning' failed on a stream: ZeroDivisionError"):
        await drain(stream)
    assert (before.seen, after.seen) == (b"a", b"")
    assert before.outcomes == after.outcomes == [Outcome.UPSTREAM_FAILED]


@pytest.mark.parametrize(
    ("raised", "expected"), [(ValueError("x"), InterceptorFailed), (NotEditable("x"), NotEditable)]
)
async def test_a_transform_that_raises_at_the_end_fails_the_stream(raised, expected):
    stream = Source([b"abc"]).stream()
    tap = Record()
    stream.map(Pairs(fail_at_end=raised), name="pairs")
    stream.tap(tap)
    assert await anext(stream) == b"ab"
    with pytest.raises(expected):
        await anext(stream)
    assert tap.outcomes == [Outcome.UPSTREAM_FAILED]
    assert isinstance(stream.error, expected)


async def test_a_source_that_fails_ends_it_once_and_reading_on_fails_again():
    source = Source([b"a"], UpstreamIncomplete("cut"))
    stream = source.stream()
    tap = Record()
    stream.tap(tap)
    for _ in range(2):
        with pytest.raises(UpstreamIncomplete, match="cut"):
            await drain(stream)
    await stream.aclose()
    assert tap.outcomes == [Outcome.UPSTREAM_FAILED]
    assert stream.outcome is Outcome.UPSTREAM_FAILED


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=4), st.integers(0, 3))
async def test_closing_early_means_the_client_left_and_is_idempotent(chunks, taken):
    source = Source(chunks)
    stream = source.stream()
    tap = Record()
    stream.tap(tap)
    for _ in range(min(taken, len(chunks))):
        await anext(stream)
    await stream.aclose()
    await stream.aclose()
    assert source.closed == 1
    assert tap.outcomes == [Outcome.CLIENT_GONE]
    with pytest.raises(RuntimeError, match="closed before its end"):
        await anext(stream)


async def test_after_its_end_a_stream_stays_at_its_end():
    stream = ByteStream(Source([b"a"]))
    assert await drain(stream) == b"a"
    assert await drain(stream) == b""
    await stream.aclose()
    assert stream.outcome is Outcome.COMPLETE
