import asyncio
import json
import zlib

import pytest

from proxy.core.errors import AnswerNotEditable, UpstreamIncomplete, UpstreamUnreachable
from proxy.core.facts import CacheFacts
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.stream import ByteStream, Outcome
from proxy.interceptors.fan_out import fan_out
from proxy.wire.sse import split

PLAIN = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]


def exchanges(count):
    first = Exchange(Request("POST", b"/v1/chat/completions", b"", [], Payload(b"{}")), route="chat")
    forks = [first.fork(ends_with_this=True) for _ in range(count - 1)]
    for fork in forks:
        fork.request = first.request.copy()
        fork.ledger = first.ledger.branch(fork.request)
    return [first, *forks]


def plain(text, status=200):
    choice = {"index": 0, "message": {"content": text}}
    return Response(status, list(PLAIN), Payload(json.dumps({"choices": [choice]}).encode()))


async def joined(*answers, streamed=False, facts=()):
    asked = exchanges(len(answers))
    places = {id(exchange): place for place, exchange in enumerate(asked)}

    async def call_next(exchange):
        place = places[id(exchange)]
        if facts:
            exchange.put(facts[place])
        answer = answers[place]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return asked[0], await fan_out(asked, call_next, name="normalize", streamed=streamed)


async def test_plain_answers_become_one():
    _, response = await joined(plain("a"), plain("b"), plain("c"))

    choices = response.body.json["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [(0, "a"), (1, "b"), (2, "c")]


async def test_a_refusal_is_passed_on_and_the_others_are_let_go():
    kept = plain("a")
    outcomes: list[Outcome] = []
    kept.on_close(outcomes.append)

    _, response = await joined(kept, plain("no", 429), plain("c"))

    assert response.status == 429
    assert outcomes == [Outcome.CLIENT_GONE]


async def test_an_error_of_ours_is_raised():
    with pytest.raises(UpstreamUnreachable):
        await joined(plain("a"), UpstreamUnreachable("gone"))


async def test_an_error_ends_the_calls_that_still_wait():
    asked, cancelled = exchanges(2), asyncio.Event()

    async def call_next(exchange):
        if exchange is asked[0]:
            raise UpstreamUnreachable("gone")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    with pytest.raises(UpstreamUnreachable):
        await fan_out(asked, call_next, name="normalize", streamed=False)
    assert cancelled.is_set()


@pytest.mark.parametrize(
    "body", [b"[1]", b"nonsense", b'{"choices": []}', b'{"error": {"message": "no"}}', b'{"choices": 5}']
)
@pytest.mark.parametrize("place", [0, 1])
async def test_answers_that_cannot_be_joined_are_an_error(body, place):
    answers = [plain("a"), plain("b")]
    answers[place] = Response(200, list(PLAIN), Payload(body))

    with pytest.raises(AnswerNotEditable, match="cannot be joined"):
        await joined(*answers)


async def test_plain_answers_where_streams_were_asked_for_are_joined_too():
    async def source():
        yield b'{"choices": [{"index": 0, '
        yield b'"message": {}}]}'

    answers = [Response(200, list(PLAIN), ByteStream(source())) for _ in range(2)]

    _, response = await joined(*answers, streamed=True)

    assert len(response.body.json["choices"]) == 2


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        (("hit", "hit"), "hit"),
        (("hit", "miss"), "miss"),
        (("coalesced", "hit"), "coalesced"),
        (("miss", "hit"), "miss"),
    ],
)
async def test_the_whole_is_from_the_cache_where_every_part_is(statuses, whole):
    exchange, _ = await joined(plain("a"), plain("b"), facts=[CacheFacts(status) for status in statuses])

    assert exchange.get(CacheFacts).status == whole


async def test_without_a_cache_nothing_is_said_of_it():
    exchange, _ = await joined(plain("a"), plain("b"))

    assert exchange.get(CacheFacts) is None


def event(text, **choice):
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}, **choice}]}).encode() + b"\n\n"


def stream(*chunks, error=None):
    async def source():
        for chunk in chunks:
            yield chunk
        if error is not None:
            raise error

    return Response(200, [*EVENTS, (b"content-length", b"9")], ByteStream(source()))


async def test_streams_become_one():
    exchange, response = await joined(
        stream(event("a"), b"data: [DONE]\n\n"), stream(event("b")[:9], event("b")[9:], b"data: [DONE]\n\n"),
        streamed=True,
    )  # fmt: skip

    body = await response.read()
    await response.aclose()

    found = [json.loads(item.data)["choices"][0] for item in split(body).events[:-1]]
    assert {choice["index"]: choice["delta"]["content"] for choice in found} == {0: "a", 1: "b"}
    assert body.endswith(b"data: [DONE]\n\n")
    assert body.count(b"[DONE]") == 1
    assert response.headers == EVENTS
    assert exchange.ledger.changes == []  # the pipeline notes the stream that it is given


async def test_a_stream_that_fails_fails_the_whole():
    _, response = await joined(stream(event("a")), stream(event("b"), error=UpstreamUnreachable("gone")), streamed=True)

    with pytest.raises(UpstreamUnreachable):
        await response.read()


async def test_a_compressed_stream_is_read():
    packed = zlib.compress(event("b"), wbits=31)
    compressed = stream(packed)
    compressed.headers = [*EVENTS, (b"content-encoding", b"gzip")]

    _, response = await joined(stream(event("a")), compressed, streamed=True)

    assert b'"b"' in await response.read()


async def test_a_client_that_leaves_ends_every_call():
    asked, gone = exchanges(2), []

    async def call_next(exchange):
        if exchange is asked[0]:
            return stream(event("a"))
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            gone.append(exchange)

    response = await fan_out(asked, call_next, name="normalize", streamed=True)
    assert isinstance(response.body, ByteStream)
    assert b'"a"' in await anext(response.body)
    await response.aclose()

    assert gone == [asked[1]]


async def test_a_plain_answer_among_streams_fails_the_whole():
    _, response = await joined(plain("a"), stream(event("b")), streamed=True)

    with pytest.raises(UpstreamIncomplete, match="choice 0 was answered with status 200 and no stream"):
        await response.read()


async def test_a_stream_where_none_was_asked_for_cannot_be_joined():
    with pytest.raises(AnswerNotEditable):
        await joined(plain("a"), stream(event("b")))
