"""What passes through is what was sent: bytes in any chunking, encodings, JSON that is not quite JSON."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.testing import Reply
from tests.contract.raw import CHAT, CHAT_PATH, RELAYED, chat, post
from tests.rawhttp import ask, with_chunks

BOUNDED = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PARTS = st.lists(st.binary(min_size=1, max_size=3000), max_size=6)
TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n'), max_size=40), max_size=6)


@BOUNDED
@given(parts=PARTS, chunked=st.booleans())
def test_request_body_arrives_byte_for_byte(pair, parts, chunked):
    server, proxy = pair
    server.on("/v1/anything", Reply(body=b"ok"))
    make = with_chunks(b"POST", RELAYED, parts) if chunked else post(RELAYED, b"".join(parts))
    with proxy.connect() as connection:
        assert ask(connection, make).body == b"ok"
    assert server.requests[-1].body == b"".join(parts)


@BOUNDED
@given(texts=TEXTS, chunked=st.booleans(), cut=st.integers(1, 60))
def test_pipeline_request_body_arrives_byte_for_byte(pair, texts, chunked, cut):
    server, proxy = pair
    body = b'{ "a":1.0,\t"b" : [' + ",".join(f'"{text}"' for text in texts).encode() + b'] ,"z": 1e400}\n'
    server.on(CHAT_PATH, Reply(json={"ok": True}))
    parts = [body[at : at + cut] for at in range(0, len(body), cut)]
    printable = all(character >= " " for text in texts for character in text)
    with proxy.connect() as connection:
        answer = ask(connection, with_chunks(b"POST", CHAT, parts) if chunked else post(CHAT, body))
    if printable:
        assert answer.status == 200
        assert server.requests[-1].body == body
    else:
        assert answer.status in {200, 400}


@BOUNDED
@given(parts=PARTS, sse=st.booleans(), streamed=st.booleans(), relayed=st.booleans())
def test_answer_arrives_byte_for_byte(pair, parts, sse, streamed, relayed):
    server, proxy = pair
    kind = {"content-type": "text/event-stream" if sse else "application/octet-stream"}
    target = RELAYED if relayed else CHAT
    body = b"".join(parts)
    server.on(target.decode(), Reply(chunks=parts, headers=kind) if streamed else Reply(body=body, headers=kind))
    with proxy.connect() as connection:
        answer = ask(connection, post(target, chat(stream=sse), (b"x-evalside-cache", b"off")))
    assert (answer.status, answer.body, answer.cut) == (200, body, False)


def test_pipeline_routes_ask_for_identity_and_others_pass_the_clients_wish(pair):
    server, proxy = pair
    wish = (b"Accept-Encoding", b"br, gzip")
    with proxy.connect() as connection:
        ask(connection, post(CHAT, chat(), wish))
        ask(connection, post(RELAYED, chat(), wish))
    assert [request.header_values("accept-encoding") for request in server.requests] == [["identity"], ["br, gzip"]]


@pytest.mark.parametrize("stream", [True, False])
def test_compressed_answer_is_relayed_as_it_came_and_stored_decoded(pair, stream):
    server, proxy = pair
    with proxy.connect() as connection:
        plain = ask(connection, post(CHAT, chat(stream=stream, seed=1)))
    body = plain.body
    reply = Reply(chunks=[body], gzip=True) if stream else Reply(body=body, gzip=True)
    server.enqueue(reply)
    with proxy.connect() as connection:
        request = post(CHAT, chat(stream=stream, seed=2))
        first, second = ask(connection, request), ask(connection, request)
    assert first.header(b"content-encoding") == b"gzip"
    assert first.body == (b"".join(reply.pieces()))
    assert (second.header(b"x-evalside-cache"), second.header(b"content-encoding")) == (b"hit", None)
    assert second.body == body


def test_compressed_request_is_the_same_as_one_that_is_not(pair):
    """The model server gets, the key is taken of, and the log holds, what it unpacks to."""
    server, proxy = pair
    body = chat(seed=3)
    packed = gzip.compress(body), (b"Content-Encoding", b"gzip")
    with proxy.connect() as connection:
        answers = [ask(connection, post(CHAT, *packed)), ask(connection, post(CHAT, body))]
        sent = server.requests[-1]
        ask(connection, post(RELAYED, *packed))
    assert [answer.header(b"x-evalside-cache") for answer in answers] == [b"miss", b"hit"]
    assert answers[0].body == answers[1].body
    assert (sent.body, sent.header("content-encoding"), sent.header("content-length")) == (body, None, str(len(body)))
    relayed = server.requests[-1]
    assert (relayed.body, relayed.header("content-encoding")) == (packed[0], "gzip")


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b"\x28\xb5\x2f\xfd", b"zstd", 415, "unsupported_encoding"),
        (b"\x1f\x8b\x08", b"gzip", 400, "invalid_json"),
        (gzip.compress(bytes(100_000_000), mtime=0), b"gzip", 413, "body_too_large"),
    ],
)
def test_request_that_cannot_be_unpacked_is_refused_by_name(pair, body, encoding, status, code):
    server, proxy = pair
    before = len(server.generation_requests)
    with proxy.connect() as connection:
        answer = ask(connection, post(CHAT, body, (b"Content-Encoding", encoding)))
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert f"content encoding '{encoding.decode()}'" in error["message"]
    assert len(server.generation_requests) == before


def test_without_interceptors_everything_is_relayed(model_server, sidecar):
    server = model_server()
    proxy = sidecar(server, interceptors=[])
    server.on(CHAT_PATH, Reply(body=b"fine"))
    with proxy.connect() as connection:
        for body in (b"{broken", b"", b"\xff\x00", b"[1]"):
            answer = ask(connection, post(CHAT, body, (b"Accept-Encoding", b"zstd")))
            assert (answer.status, answer.body, server.requests[-1].body) == (200, b"fine", body)
            assert server.requests[-1].header("accept-encoding") == "zstd"
            assert answer.header(b"x-evalside-cache") is None


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b'\xef\xbb\xbf{"a":1}'])
def test_lenient_json_is_forwarded_untouched_or_refused(model_server, sidecar, body):
    server = model_server()
    server.on(CHAT_PATH, Reply(json={}))
    with sidecar(server).connect() as connection:
        answer = ask(connection, post(CHAT, body))
        assert (answer.status, answer.header(b"x-evalside-cache")) == (200, b"bypass")
    assert server.requests[0].body == body
    changing = sidecar(server, interceptors=[{"name": "payload_modifier", "config": {"params_to_add": {"top_k": 1}}}])
    with changing.connect() as connection:
        answer = ask(connection, post(CHAT, body))
    assert (answer.status, answer.code, len(server.requests)) == (400, "not_editable", 1)
