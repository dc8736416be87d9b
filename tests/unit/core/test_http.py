import pytest

from proxy.core.errors import InvalidJson, NotAnObject, NotEditable, UpstreamIncomplete
from proxy.core.facts import CacheOverride, UpstreamFacts
from proxy.core.http import Exchange, Payload, Request, Response, get_header, new_id, without_headers
from proxy.core.stream import ByteStream, Outcome


async def chunks_of(*chunks, error=None):
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


class Record:
    def __init__(self, fails=False):
        self.seen = []
        self.fails = fails

    def feed(self, chunk):
        if self.fails:
            raise KeyError("tap")
        self.seen.append(chunk)

    def done(self, outcome):
        self.seen.append(outcome)


def make_request(body=b"{}", query=b""):
    return Request("POST", b"/v1/chat/completions", query, [(b"a", b"b")], Payload(body))


def test_headers_are_found_in_any_case_and_the_first_wins():
    headers = [(b"X-A", b"1"), (b"x-a", b"2")]
    assert get_header(headers, b"x-a") == b"1"
    assert get_header(headers, b"x-b") is None
    assert without_headers([*headers, (b"k", b"v")], frozenset({b"x-a"})) == [(b"k", b"v")]


def test_a_payload_is_parsed_once_and_only_when_asked():
    payload = Payload(b'{"a": 1}')
    assert payload.known is None
    assert payload.json == {"a": 1}
    assert payload.json is payload.known is payload.parsed.value
    assert len(payload) == 8


def test_an_edit_is_encoded_when_the_bytes_are_next_read():
    payload = Payload(b'{"a": 1.50}')
    payload.edit()["b"] = "é"
    assert payload.raw == '{"a":1.50,"b":"é"}'.encode()
    payload.edit()["c"] = None
    assert payload.raw == '{"a":1.50,"b":"é","c":null}'.encode()


def test_an_edit_that_json_cannot_carry_is_refused_every_time():
    payload = Payload(b"{}")
    payload.edit()["a"] = float("nan")
    for _ in range(2):
        with pytest.raises(NotEditable, match="cannot be written as JSON"):
            payload.raw.decode()


def test_nor_can_it_be_told_what_it_changed():
    payload = Payload(b'{"a": 1.5}')
    payload.edit()["a"] = float("nan")
    with pytest.raises(NotEditable, match="cannot be written as JSON"):
        payload.differences()


def test_what_edits_changed_is_told_once():
    payload = Payload(b'{"a": 1}')
    assert not payload.touched
    payload.edit()["b"] = 2
    assert payload.touched
    assert [item.field for item in payload.differences()] == ["b"]
    assert not payload.touched
    payload.edit()["c"] = 3
    assert [item.field for item in payload.differences()] == ["c"]
    assert payload.differences() == []


def test_an_edit_that_changes_nothing_leaves_the_bytes():
    raw = b'{ "a": 1.0e2 }'
    payload = Payload(raw)
    payload.edit()["a"] = payload.json["a"]
    assert payload.differences() == []
    assert payload.raw == raw
    payload.edit()
    assert payload.raw == raw
    assert payload.differences() == []
    payload.edit()["b"] = 2
    assert payload.differences()
    payload.edit()["b"] = 2
    assert payload.differences() == []  # and the change before is still to be written
    assert payload.raw == b'{"a":1.0e2,"b":2}'


def test_an_edit_that_is_taken_back_is_taken_back_in_the_bytes():
    payload = Payload(b'{"a": 1}')
    payload.edit()["a"] = 2
    assert payload.raw == b'{"a":2}'
    payload.edit()["a"] = 1
    assert payload.raw == b'{"a":1}'
    payload.edit()["a"] = 2
    assert payload.raw == b'{"a":2}'
    payload.edit()["a"] = 1
    assert payload.differences() == []
    assert payload.raw == b'{"a":1}'


@pytest.mark.parametrize("raw", [b"", b"{", b"not json"])
def test_a_body_that_is_not_json(raw):
    payload = Payload(raw)
    with pytest.raises(InvalidJson, match="not JSON"):
        payload.json.keys()
    assert payload.raw == raw


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"[]", "an array"),
        (b'"x"', "a string"),
        (b"true", "a boolean"),
        (b"null", "null"),
        (b"1.5", "a number"),
        (b"1", "a number"),
    ],
)
def test_a_body_that_is_not_an_object_says_what_it_is(raw, kind):
    with pytest.raises(NotAnObject, match=f"not {kind}$"):
        Payload(raw).edit()


@pytest.mark.parametrize(("query", "target"), [(b"", b""), (b"a=%20&a=1", b"?a=%20&a=1")])
def test_the_target_is_path_and_query_as_they_came(query, target):
    assert make_request(query=query).target == b"/v1/chat/completions" + target


async def test_a_tap_sees_a_complete_body_at_once_and_a_stream_as_it_passes():
    tap = Record()
    response = Response(200, [], Payload(b"abc"))
    response.tap(tap)
    assert tap.seen == [b"abc", Outcome.COMPLETE]
    tap = Record()
    response = Response(200, [], ByteStream(chunks_of(b"a", b"b")))
    response.tap(tap)
    assert tap.seen == []
    assert await response.read() == b"ab"
    assert tap.seen == [b"a", b"b", Outcome.COMPLETE]


@pytest.mark.parametrize("body", [Payload(b"a"), ByteStream(chunks_of(b"a"))])
async def test_a_tap_that_raises_is_counted_and_costs_nothing(body):
    response = Response(200, [], body)
    response.tap(Record(fails=True))
    assert await response.read() == b"a"
    assert [type(error) for error in response.tap_errors] == [KeyError]


async def test_reading_a_stream_makes_it_a_payload_and_releases_it():
    closed = []

    async def close():
        closed.append(True)

    response = Response(200, [], ByteStream(chunks_of(b"a", b"b"), close))
    assert await response.read() == b"ab"
    assert await response.read() == b"ab"
    assert isinstance(response.body, Payload)
    assert closed == [True]


async def test_a_stream_that_breaks_is_never_read_as_a_shorter_answer():
    response = Response(200, [], ByteStream(chunks_of(b"a", error=UpstreamIncomplete("cut"))))
    for _ in range(2):
        with pytest.raises(UpstreamIncomplete, match="cut"):
            await response.read()


async def test_closing_runs_every_closer_once_the_last_added_first():
    response = Response(200, [], ByteStream(chunks_of(b"a")))
    calls = []
    response.on_close(lambda outcome: calls.append(("first", outcome)))

    def fails(outcome):
        raise ZeroDivisionError

    response.on_close(fails)
    response.on_close(lambda outcome: calls.append(("last", outcome)))
    await response.aclose(Outcome.COMPLETE)
    await response.aclose()
    assert calls == [("last", Outcome.COMPLETE), ("first", Outcome.COMPLETE)]
    assert [type(error) for error in response.tap_errors] == [ZeroDivisionError]
    assert isinstance(response.body, ByteStream)
    assert response.body.outcome is Outcome.CLIENT_GONE


async def test_closers_run_even_where_releasing_the_stream_fails():
    async def close():
        raise OSError("gone")

    calls: list[Outcome] = []
    response = Response(200, [], ByteStream(chunks_of(), close))
    response.on_close(calls.append)
    with pytest.raises(OSError, match="gone"):
        await response.aclose()
    assert calls == [Outcome.CLIENT_GONE]


def test_ids_never_repeat_and_sort_by_age():
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert {len(name) for name in ids} == {24}


def test_an_exchange_keeps_what_was_received():
    exchange = Exchange(make_request(b'{"a":1}'), route="chat", run="r")
    exchange.request.body.edit()["b"] = 2
    exchange.request.headers = []
    assert exchange.received == b'{"a":1}'
    assert exchange.received_headers == [(b"a", b"b")]
    assert (exchange.route, exchange.run, exchange.error) == ("chat", "r", None)


def test_facts_are_kept_by_their_type_and_the_last_one_counts():
    exchange = Exchange(make_request(), route=None)
    assert exchange.get(UpstreamFacts) is None
    exchange.put(UpstreamFacts(1.0))
    exchange.put(CacheOverride("off"))
    exchange.put(UpstreamFacts(2.0))
    assert exchange.get(UpstreamFacts) == UpstreamFacts(2.0)


async def test_an_exchange_closes_what_it_owns_once():
    exchange = Exchange(make_request(), route=None)
    stream = ByteStream(chunks_of(b"a"))
    response = Response(200, [], Payload(b""))
    calls: list[Outcome] = []
    response.on_close(calls.append)
    for opened in (stream, response, response):
        exchange.owns(opened)
    await exchange.aclose()
    await exchange.aclose()
    assert stream.outcome is Outcome.CLIENT_GONE
    assert calls == [Outcome.CLIENT_GONE]


async def test_a_fork_asks_the_same_and_owns_what_is_opened_for_it():
    exchange = Exchange(make_request(), route="chat", run="r")
    exchange.put(UpstreamFacts(1.0))
    fork = exchange.fork()
    assert (fork.id, fork.run, fork.route, fork.request) == (exchange.id, "r", "chat", exchange.request)
    assert all(hasattr(fork, name) for name in Exchange.__slots__)
    assert fork.get(UpstreamFacts) == UpstreamFacts(1.0)
    stream = ByteStream(chunks_of(b"a"))
    fork.owns(stream)
    await exchange.aclose()
    assert stream.outcome is None
    await fork.aclose()
    assert stream.outcome is Outcome.CLIENT_GONE


def test_facts_of_a_fork_are_its_own_until_they_are_adopted():
    exchange = Exchange(make_request(), route=None)
    exchange.put(CacheOverride("on"))
    fork = exchange.fork()
    fork.put(UpstreamFacts(2.0))
    assert exchange.get(UpstreamFacts) is None
    exchange.adopt(fork)
    assert exchange.get(UpstreamFacts) == UpstreamFacts(2.0)
    assert exchange.get(CacheOverride) == CacheOverride("on")


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_responses_that_an_exchange_owns_learn_how_it_ended(outcome):
    exchange = Exchange(make_request(), route=None)
    response = Response(200, [], Payload(b""))
    calls: list[Outcome] = []
    response.on_close(calls.append)
    exchange.owns(response)
    await exchange.aclose(outcome)
    assert calls == [outcome]


async def test_a_whole_body_becomes_a_stream_of_one_chunk():
    response = Response(200, [], Payload(b"abc"))
    whole = response.body
    stream = response.stream()
    assert stream.origin is whole
    assert response.stream() is stream
    assert [chunk async for chunk in stream] == [b"abc"]


async def test_a_tap_that_failed_on_the_whole_body_is_remembered_by_its_stream():
    class Fails:
        def feed(self, chunk):
            raise ZeroDivisionError

        def done(self, outcome):
            pass

    response = Response(200, [], Payload(b"abc"))
    response.tap(Fails())
    response.stream().tap(Fails())
    await response.read()
    assert len(response.tap_errors) == 2


async def test_what_is_opened_for_a_fork_may_end_with_the_exchange():
    exchange = Exchange(make_request(), route="chat")
    fork = exchange.fork(ends_with_this=True)
    stream = ByteStream(chunks_of(b"a"))
    fork.owns(stream)
    await exchange.aclose()
    assert stream.outcome is Outcome.CLIENT_GONE


def test_changes_of_a_copied_request_are_its_own():
    request = Request("POST", b"/v1/x", b"a=1", [(b"x", b"1")], Payload(b'{ "a": 1 }'))
    copied = request.copy()
    copied.body.edit()["a"] = 2
    copied.headers = []
    assert (copied.method, copied.target, copied.body.raw) == ("POST", b"/v1/x?a=1", b'{"a":2}')
    assert (request.body.raw, request.headers) == (b'{ "a": 1 }', [(b"x", b"1")])
