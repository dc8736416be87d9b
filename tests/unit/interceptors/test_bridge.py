"""What all bridges do, shown on one of them."""

import gzip
import hashlib
import json

import pytest

from proxy.core.errors import AnswerNotEditable, NotCarried, NotEditable
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.interceptors.bridge import Bridge
from proxy.wire.bridges.losses import Converted
from tests.unit.interceptors.alone import ask, events
from tests.unit.wire.bridges.chats import answer, chunk

REQUEST = {"model": "m", "input": "hi", "metadata": {"a": "b"}}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = events(chunk(content="yes"), chunk("stop"))


async def crossed(request=None, reply=None, **more):
    return await ask(
        "responses_to_chat",
        more.pop("options", None),
        request=REQUEST if request is None else request,
        answer=answer(content="yes") if reply is None else reply,
        route="responses",
        **more,
    )


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


async def test_the_body_is_one_entry_of_the_ledger_with_both_hashes_and_what_was_left_out():
    asked = await crossed()
    path, request, reply = asked.exchange.ledger.changes
    assert (path.on, path.field, path.what.before, path.what.after) == (
        "request",
        "path",
        "/v1/responses",
        "/v1/chat/completions",
    )
    assert (request.on, request.field, request.why) == ("request", "(body)", "responses as chat; not carried: metadata")
    assert request.what.before == digest(asked.exchange.received)
    assert request.what.after == digest(asked.exchange.request.body.raw)
    assert (reply.on, reply.field, reply.why) == ("answer", "(body)", "chat as responses")
    assert reply.what.before == digest(json.dumps(answer(content="yes"), ensure_ascii=False).encode())
    assert reply.what.after == digest(asked.body)


async def test_a_stream_is_one_entry_too():
    stream = events(chunk(content="yes"), chunk("stop", annotations=[{}]))
    asked = await crossed({**REQUEST, "stream": True}, stream, size=7)
    [entry] = [change for change in asked.exchange.ledger.changes if change.on == "answer"]
    assert (entry.field, entry.why) == ("(body)", "chat as responses; not carried: choices[].message.annotations")
    assert (entry.what.before, entry.what.after) == (digest(stream), digest(asked.body))


async def test_what_is_lost_of_a_plain_answer_is_in_the_ledger():
    reply = answer(content="yes", annotations=[{}])
    asked = await crossed(reply=reply)
    assert asked.exchange.ledger.changes[-1].why == "chat as responses; not carried: choices[].message.annotations"
    with pytest.raises(AnswerNotEditable, match=r"no place for choices\[\]\.message\.annotations"):
        await crossed({"input": "hi"}, reply, strict=True)


@pytest.mark.parametrize(("strict", "options"), [(True, {}), (False, {"strict": True})])
async def test_strict_refuses_what_would_be_left_out_and_nothing_else(strict, options):
    with pytest.raises(NotCarried, match="would leave out metadata"):
        await crossed(strict=strict, options=options)
    asked = await crossed({"input": "hi"}, strict=strict, options=options)
    assert asked.json["status"] == "completed"
    asked = await crossed({"input": "hi", "stream": True}, STREAM, strict=strict, options=options)
    assert asked.documents[-1]["type"] == "response.completed"


async def test_an_interceptor_of_its_own_mind_is_not_strict():
    assert (await crossed(strict=True, options={"strict": False})).json["status"] == "completed"


async def test_what_is_further_in_sees_the_other_route_and_what_is_further_out_the_clients():
    bridge = Bridge("a_bridge", "chat", b"/v1/chat/completions", strict=False)
    seen = []

    class Failed(Exception):
        pass

    async def inner(exchange: Exchange) -> Response:
        seen.append((exchange.route, exchange.request.path, exchange.request.body.json))
        raise Failed

    exchange = Exchange(
        Request("POST", b"/v1/completions", b"a=b", [], Payload(b'{"prompt": "x"}')), route="completions"
    )
    with pytest.raises(Failed):
        await bridge.cross(exchange, inner, lambda document: Converted(document, []), lambda _: None)  # type: ignore[arg-type, return-value]
    assert seen == [("chat", b"/v1/chat/completions", {"prompt": "x"})]
    assert exchange.route == "completions"


@pytest.mark.parametrize("body", [b'{"input": "hi", "input": "hi"}', b'{"input": NaN}'])
async def test_a_request_that_not_every_parser_reads_the_same_is_refused(body):
    with pytest.raises(NotEditable, match="'responses_to_chat' has to convert it"):
        await crossed(body)


async def test_a_request_that_cannot_be_written_again_is_refused():
    deep = "[" * 253 + "]" * 253
    with pytest.raises(NotEditable, match="cannot write the request as JSON"):
        await crossed(f'{{"input": "hi", "tools": [{{"type": "function", "parameters": {deep}}}]}}'.encode())


async def test_errors_of_the_model_server_stay_as_they_are():
    error = {"error": {"message": "no such model", "code": 404}}
    asked = await crossed(reply=error, status=404)
    assert (asked.response.status, asked.json) == (404, error)
    assert [change.on for change in asked.exchange.ledger.changes] == ["request", "request"]
    assert (await crossed(reply=error)).json == error


@pytest.mark.parametrize("reply", [["yes"], "yes"])
async def test_what_is_no_answer_stays_as_it_is(reply):
    asked = await crossed(reply=reply)
    assert asked.json == reply
    assert [change.on for change in asked.exchange.ledger.changes] == ["request", "request"]


async def test_an_answer_that_not_every_parser_reads_the_same_is_an_error():
    with pytest.raises(AnswerNotEditable, match="not every parser"):
        await crossed(reply=answer(content="yes", usage={"prompt_tokens": float("nan")}))


ZIPPED = [(b"content-encoding", b"gzip")]


@pytest.mark.parametrize("encoding", [b"gzip", b"identity"])
async def test_a_stream_that_is_compressed_is_read_all_the_same(encoding):
    body = gzip.compress(STREAM) if encoding == b"gzip" else STREAM
    asked = await crossed({**REQUEST, "stream": True}, body, size=5, headers=[(b"content-encoding", encoding)])
    assert asked.documents[-1]["response"]["output"][0]["content"][0]["text"] == "yes"
    assert not [name for name, _ in asked.response.headers if name == b"content-encoding"]


async def test_an_encoding_that_is_not_one_is_an_error():
    with pytest.raises(AnswerNotEditable, match="content encoding cannot be taken off"):
        await crossed(headers=ZIPPED)


async def test_numbers_stay_as_they_are_written():
    body = b'{"input": "hi", "temperature": 0.50, "seed": 18446744073709551616}'
    asked = await crossed(body)
    assert b'"temperature":0.50,"seed":18446744073709551616' in asked.exchange.request.body.raw
    assert b'"temperature":0.50' in asked.body
