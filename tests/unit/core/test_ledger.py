import hashlib
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.difference import ABSENT, Difference, apply, snapshot
from proxy.core.document import encode
from proxy.core.errors import ChangeRefused, UpstreamUnreachable
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.ledger import Change
from proxy.core.pipeline import Layer, Stage, compose
from proxy.core.stream import ByteStream, StreamChange

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi","name":"x"}],"seed":1}'


def transform(change=None, answer=None, name="edit", *, strict=False):
    async def interceptor(exchange, call_next):
        if change is not None:
            change(exchange)
        response = await call_next(exchange)
        return (answer(response) or response) if answer is not None else response

    return Stage(name, Layer.TRANSFORM, 0, interceptor, None, strict)


def make(body=BODY):
    return Exchange(Request("POST", b"/v1/x", b"a=1", [(b"X-One", b"1")], Payload(body)), route="chat")


def stream(*chunks):
    async def source():
        for chunk in chunks:
            yield chunk

    return ByteStream(source())


async def run(*stages, exchange=None, body=None):
    """Send one exchange through; return it and what comes back."""
    exchange = exchange or make()

    async def terminal(asked):
        return Response(200, [(b"X-Kept", b"1")], body if body is not None else Payload(b'{"id":"1","text":"t"}'))

    return exchange, await compose(stages, terminal)(exchange)


def told(exchange):
    return [
        (change.interceptor, change.on, change.field, change.what.before, change.what.after)
        for change in exchange.ledger.changes
    ]


async def test_edits_of_a_request_are_entered_by_who_made_them():
    def drop(exchange):
        del exchange.request.body.edit()["seed"]

    def rename(exchange):
        exchange.request.body.edit()["messages"][0]["name"] = "y"

    exchange, _ = await run(transform(drop, name="first"), transform(rename, name="second"))
    assert told(exchange) == [
        ("first", "request", "seed", 1, ABSENT),
        ("second", "request", "messages[0].name", "x", "y"),
    ]


async def test_an_edit_that_changes_nothing_is_no_entry():
    exchange, _ = await run(transform(lambda exchange: exchange.request.body.edit().update(seed=1)))
    assert exchange.ledger.changes == []


async def test_line_and_headers_are_entered_too():
    def change(exchange):
        request = exchange.request
        request.path, request.query = b"/v1/y", b""
        request.headers = [(b"x-two", b"a"), (b"x-two", b"b")]

    exchange, _ = await run(transform(change))
    assert told(exchange) == [
        ("edit", "request", "path", "/v1/x", "/v1/y"),
        ("edit", "request", "query", "a=1", ""),
        ("edit", "request", "header:x-one", "1", ABSENT),
        ("edit", "request", "header:x-two", ABSENT, "a, b"),
    ]


async def test_a_body_that_is_replaced_is_one_entry_with_both_hashes():
    def replace(exchange):
        exchange.request.body = Payload(b'{"prompt":"hi"}')

    exchange, _ = await run(transform(replace))
    hashes = [f"sha256:{hashlib.sha256(body).hexdigest()}" for body in (BODY, b'{"prompt":"hi"}')]
    assert told(exchange) == [("edit", "request", "(body)", *hashes)]


async def test_the_same_bytes_in_a_new_body_are_no_entry():
    def replace(exchange):
        exchange.request.body = Payload(BODY)

    exchange, _ = await run(transform(replace))
    assert exchange.ledger.changes == []


async def test_reasons_are_those_of_the_interceptor_that_gives_them():
    def explained(exchange):
        exchange.ledger.explain("seed", "the server has no seed")
        del exchange.request.body.edit()["seed"]

    def plain(exchange):
        exchange.request.body.edit()["seed"] = 2

    exchange, _ = await run(transform(explained), transform(plain, name="other"))
    assert [change.why for change in exchange.ledger.changes] == ["the server has no seed", "configured"]


async def test_changes_of_an_answer_are_entered_from_the_inside_out():
    def edit(response):
        response.body.edit()["text"] = "u"

    def status(response):
        response.status = 201
        response.headers = [*response.headers, (b"x-new", b"1")]

    exchange, _ = await run(transform(answer=status, name="outer"), transform(answer=edit, name="inner"))
    assert told(exchange) == [
        ("inner", "answer", "text", "t", "u"),
        ("outer", "answer", "status", 200, 201),
        ("outer", "answer", "header:x-new", ABSENT, "1"),
    ]


async def test_an_answer_of_an_interceptors_own_changes_nobodys():
    async def answers(exchange, call_next):
        return Response(429, [], Payload(b"{}"))

    exchange, response = await run(Stage("own", Layer.TRANSFORM, 0, answers))
    assert response.status == 429
    assert exchange.ledger.changes == []


async def test_an_answer_made_a_stream_and_back_is_one_entry():
    def streamed(response):
        return Response(200, response.headers, stream(b"x"))

    exchange, _ = await run(transform(answer=streamed))
    [(_, _, field, before, after)] = told(exchange)
    assert (field, before[:7], after) == ("(body)", "sha256:", "a stream")


class Upper:
    def feed(self, chunk):
        return chunk.upper()

    def end(self):
        return b""


class Counted(Upper):
    """Says itself what it changed."""

    def __init__(self):
        self.changes = []

    def feed(self, chunk):
        if chunk == b"bad":
            self.changes = [StreamChange(Difference(("choices",), 1, 2), "told to", 3)]
        return chunk


def mapped(kind, name="edit"):
    return transform(answer=lambda response: response.body.map(kind(), name=name), name=name)


async def test_a_transform_of_a_stream_leaves_the_hash_of_both_sides():
    exchange, response = await run(mapped(Upper), body=stream(b"a", b"b"))
    assert await response.read() == b"AB"
    sides = [f"sha256:{hashlib.sha256(body).hexdigest()}" for body in (b"ab", b"AB")]
    assert told(exchange) == [("edit", "answer", "(body)", *sides)]


async def test_a_header_of_a_stream_is_entered_and_the_stream_is_not():
    def name(response):
        response.headers = [*response.headers, (b"X-New", b"1")]

    exchange, response = await run(transform(answer=name), body=stream(b"a"))
    assert await response.read() == b"a"
    assert told(exchange) == [("edit", "answer", "header:x-new", ABSENT, "1")]


async def test_a_transform_that_changed_nothing_of_a_stream_leaves_nothing():
    exchange, response = await run(mapped(Upper), body=stream(b"AB"))
    await response.read()
    assert exchange.ledger.changes == []


async def test_a_transform_of_a_stream_may_say_what_it_changed():
    exchange, response = await run(mapped(Counted), body=stream(b"good", b"bad"))
    await response.read()
    what = Difference(("choices",), 1, 2)
    assert exchange.ledger.changes == [Change("edit", "answer", "body", what, "told to", 3)]


@pytest.mark.parametrize("name", ["edit", "other"])
async def test_strict_refuses_a_change_by_the_interceptor_it_is_for(name):
    def drop(exchange):
        del exchange.request.body.edit()["seed"]

    stages = [transform(drop, name="edit", strict=name == "edit"), transform(name="other", strict=name == "other")]
    if name == "other":
        exchange, _ = await run(*stages)
        assert len(exchange.ledger.changes) == 1
        return
    with pytest.raises(ChangeRefused, match=r"'edit' would change the request \(seed\)") as caught:
        await run(*stages)
    assert caught.value.status == 400


async def test_strict_refuses_a_changed_answer():
    with pytest.raises(ChangeRefused, match=r"would change the answer \(text\)"):
        await run(transform(answer=lambda response: response.body.edit().pop("text") and None, strict=True))


@pytest.mark.parametrize("kind", [Upper, Counted])
async def test_strict_ends_a_stream_that_is_changed(kind):
    stages = [transform(answer=mapped_now(kind), strict=True)]
    _, response = await run(*stages, body=stream(b"GOOD", b"bad"))
    with pytest.raises(ChangeRefused, match="would change the answer"):
        await response.read()


def mapped_now(kind):
    return lambda response: response.body.map(kind(), name="edit")


async def test_strict_lets_an_unchanged_stream_pass():
    _, response = await run(transform(answer=mapped_now(Upper), strict=True), body=stream(b"GOOD"))
    assert await response.read() == b"GOOD"


async def test_what_was_changed_before_a_failure_stays_entered():
    exchange = make()

    async def fails(asked):
        raise UpstreamUnreachable("gone")

    def drop(exchange):
        del exchange.request.body.edit()["seed"]

    with pytest.raises(UpstreamUnreachable):
        await compose([transform(drop)], fails)(exchange)
    assert [change.field for change in exchange.ledger.changes] == ["seed"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(OBJECTS, st.lists(OBJECTS, max_size=4))
async def test_what_was_received_and_the_ledger_give_what_is_sent(received, versions):
    """Each transform turns the body into its version, whatever that changes."""

    def become(version):
        def change(exchange):
            document = exchange.request.body.edit()
            document.clear()
            document.update(snapshot(version))

        return change

    exchange, _ = await run(*(transform(become(version)) for version in versions), exchange=make(encode(received)))
    made = snapshot(received)
    apply(made, [change.what for change in exchange.ledger.changes])
    sent = exchange.request.body.json
    assert encode(dict(sorted(made.items()))) == encode(dict(sorted(sent.items())))


def edited(exchange, **fields):
    exchange.request.body.edit().update(fields)
    exchange.ledger.note_request("edit", exchange.request)


def test_a_branch_goes_on_with_a_copy_of_the_request():
    exchange = make()
    edited(exchange, seed=2)
    copied = exchange.request.copy()
    branch = exchange.ledger.branch(copied)
    copied.body.edit()["seed"] = 3
    branch.note_request("later", copied)
    assert [(change.interceptor, change.what.after) for change in branch.changes] == [("edit", 2), ("later", 3)]
    assert [change.interceptor for change in exchange.ledger.changes] == ["edit"]


def test_requests_that_one_became_are_entered_together():
    exchange = make()
    edited(exchange, model="n")
    start, ledger = exchange.request, exchange.ledger
    branches = []
    for seed in (1, 2, 2):
        request = start.copy()
        branch = ledger.branch(request)
        request.body.edit().update(seed=seed, n=1)
        branch.note_request("each", request)
        branch.begin_answer(Response(200, [], Payload(b'{"a":1}')))
        branch.note_answer("each", Response(201, [], Payload(b'{"a":2}')))
        branches.append(branch)
    first, *others = branches
    for other in others:
        first.join(other)
    assert [(change.interceptor, change.field, change.times) for change in first.changes] == [
        ("edit", "model", 1), ("each", "n", 3), ("each", "status", 1), ("each", "(body)", 1), ("each", "seed", 2)
    ]  # fmt: skip


def test_changes_to_a_stream_stay_when_another_takes_its_place():
    class Noted:
        changes: ClassVar = [StreamChange(Difference(("event",), ABSENT, "x"))]

        def feed(self, chunk):
            return chunk

        def end(self):
            return b""

    exchange = make()
    first, second = stream(b"a"), stream(b"b")
    exchange.ledger.begin_answer(Response(200, [], first))
    first.map(Noted(), name="inner")
    exchange.ledger.note_answer("inner", Response(200, [], first))
    second.map(Noted(), name="outer")
    exchange.ledger.note_answer("outer", Response(200, [], second))
    exchange.ledger.note_answer("outermost", Response(200, [], second))
    assert [change.interceptor for change in exchange.ledger.changes] == ["inner", "outer"]
