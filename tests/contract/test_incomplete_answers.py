"""Each way in which an answer can be incomplete, on each route, on real sockets: nobody else ever gets it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

import aiohttp
import pytest

from proxy.settings import Settings
from proxy.testing import Fault, ModelServer, Reply
from tests.conftest import Sidecar, serving

USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"prompt": "hi"},
    RESPONSES: {"input": "hi"},
    MESSAGES: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "/v1/embeddings": {"input": ["a", "b"]},
    "/v1/rerank": {"query": "q", "documents": ["a", "b"]},
    "/v1/score": {"text_1": "q", "text_2": ["a", "b"]},
    "/tokenize": {"prompt": "hi"},
    "/detokenize": {"tokens": [1, 2]},
}


def chat(**choice: Any) -> dict[str, Any]:
    made = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop", **choice}
    return {"object": "chat.completion", "choices": [made], "usage": USAGE}


def completion(**choice: Any) -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"index": 0, "text": "hi", "finish_reason": "stop", **choice}]}


def response(**fields: Any) -> dict[str, Any]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    return {"object": "response", "status": "completed", "output": [said], "usage": USAGE, **fields}


def message(**fields: Any) -> dict[str, Any]:
    text = [{"type": "text", "text": "hi"}]
    return {"type": "message", "role": "assistant", "content": text, "stop_reason": "end_turn", "usage": {}, **fields}


def items(name: str, **entry: Any) -> dict[str, Any]:
    return {name: [{"index": index, **entry} for index in range(2)]}


WHOLE: dict[str, dict[str, Any]] = {
    CHAT: chat(),
    COMPLETIONS: completion(),
    RESPONSES: response(),
    MESSAGES: message(),
    "/v1/embeddings": items("data", embedding=[0.5]),
    "/v1/rerank": items("results", relevance_score=0.5),
    "/v1/score": items("data", score=0.5),
    "/tokenize": {"tokens": [1, 2], "count": 2},
    "/detokenize": {"prompt": "hi"},
}
EMPTY: dict[str, list[dict[str, Any]]] = {
    CHAT: [{**chat(), "choices": []}, {"object": "chat.completion"}, chat(message=None)],
    COMPLETIONS: [{**completion(), "choices": []}, {"object": "text_completion"}, completion(text=None)],
    RESPONSES: [response(output=[]), response(output=None)],
    MESSAGES: [message(content=None), {"type": "message"}],
    "/v1/embeddings": [{"data": []}, {"data": [{"embedding": [0.5]}]}, items("data", embedding=[])],
    "/v1/rerank": [{"results": []}, {"results": [{"relevance_score": 1}]}, items("results")],
    "/v1/score": [{"data": []}, {"data": [{"score": 1}]}, items("data", score=None)],
    "/tokenize": [{"tokens": []}, {"count": 2}],
    "/detokenize": [{"prompt": None}, {}],
}
UNFINISHED: dict[str, list[dict[str, Any]]] = {
    CHAT: [chat(finish_reason=reason) for reason in (None, "abort", "error", "content_filter")]
    + [chat(content_filter_results={"hate": {"filtered": True}})],
    COMPLETIONS: [completion(finish_reason=reason) for reason in (None, "abort", "content_filter")],
    RESPONSES: [
        response(status="in_progress"),
        response(status="failed", error={"code": "x"}),
        response(status="cancelled"),
        response(status="incomplete", incomplete_details={"reason": "content_filter"}),
    ],
    MESSAGES: [message(stop_reason=reason) for reason in (None, "refusal", "pause_turn")],
}


def data(*documents: Any) -> list[bytes]:
    return [
        b"data: " + (item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n\n" for item in documents
    ]


def named(*documents: dict[str, Any]) -> list[bytes]:
    return [f"event: {item['type']}\ndata: {json.dumps(item)}\n\n".encode() for item in documents]


def delta(reason: str | None, **said: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": said, "finish_reason": reason}]}


def piece(reason: str | None, text: str) -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": reason}]}


def told(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


CREATED = told("response.created", response=response(status="in_progress", output=[]))
START = told("message_start", message=message(content=[], stop_reason=None))
BLOCK = [
    told("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    told("content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"}),
    told("content_block_stop", index=0),
]
STOP = told("message_stop")


def stopped(reason: str | None) -> dict[str, Any]:
    return told("message_delta", delta={"stop_reason": reason}, usage={})


DONE = b"[DONE]"
STREAM: dict[str, list[bytes]] = {
    CHAT: data(delta(None, role="assistant", content="hi"), delta("stop"), DONE),
    COMPLETIONS: data(piece(None, "hi"), piece("stop", ""), DONE),
    RESPONSES: named(CREATED, told("response.completed", response=response())),
    MESSAGES: named(START, *BLOCK, stopped("end_turn"), STOP),
}
BROKEN: dict[str, dict[str, list[bytes]]] = {
    CHAT: {
        "no end": STREAM[CHAT][:-1],
        "no finish reason": data(delta(None, content="hi"), DONE),
        "filtered": data(delta(None, content="hi"), delta("content_filter"), DONE),
        "aborted": data(delta(None, content="hi"), delta("abort"), DONE),
        "an error": data(delta(None, content="hi"), {"error": {"message": "oops"}}, DONE),
        "an error event": [*STREAM[CHAT][:2], b'event: error\ndata: {"message": "oops"}\n\n', STREAM[CHAT][-1]],
        "no choices": data({"object": "chat.completion.chunk", "choices": []}, DONE),
        "half an event": [*STREAM[CHAT][:-1], b"data: [DO"],
        "nothing": [b": ping\n\n"],
    },
    COMPLETIONS: {
        "no end": STREAM[COMPLETIONS][:-1],
        "no finish reason": data(piece(None, "hi"), DONE),
        "filtered": data(piece("content_filter", "hi"), DONE),
        "an error": data(piece(None, "hi"), {"error": {"message": "oops"}}, DONE),
        "no choices": data({"choices": []}, DONE),
        "half an event": [*STREAM[COMPLETIONS][:-1], b"data: [DO"],
    },
    RESPONSES: {
        "no end": named(CREATED),
        "failed": named(CREATED, told("response.failed", response=response(status="failed"))),
        "filtered": named(CREATED, told("response.incomplete", response=UNFINISHED[RESPONSES][3])),
        "an error": named(CREATED, told("error", message="oops"), told("response.completed", response=response())),
        "no output": named(CREATED, told("response.completed", response=response(output=[]))),
        "half an event": [*named(CREATED), STREAM[RESPONSES][-1][:-9]],
    },
    MESSAGES: {
        "no end": STREAM[MESSAGES][:-1],
        "no stop reason": named(START, *BLOCK, stopped(None), STOP),
        "refused": named(START, *BLOCK, stopped("refusal"), STOP),
        "an open block": named(START, *BLOCK[:2], stopped("end_turn"), STOP),
        "an error": named(START, told("error", error={"type": "overloaded_error"}), stopped("end_turn"), STOP),
        "no start": named(*BLOCK, stopped("end_turn"), STOP),
        "half an event": [*STREAM[MESSAGES][:-1], STREAM[MESSAGES][-1][:-5]],
    },
}


class Case(NamedTuple):
    """A request to a route, and an answer to it that is not complete."""

    path: str
    what: str
    reply: Reply
    stream: bool = False


def plain_cases(path: str) -> Iterator[Case]:
    """Yield what can go wrong with a plain answer, on each route the same; and what is of the route."""
    whole, raw = WHOLE[path], json.dumps(WHOLE[path]).encode()
    for status in (201, 400, 404, 429, 500, 503):
        yield Case(path, f"status {status}", Reply(status, json=whole))
    yield Case(path, "an error in a 200", Reply(json={"error": {"message": "oops"}}))
    yield Case(path, "an error beside it", Reply(json={**whole, "error": {"message": "oops"}}))
    yield Case(path, "closed", Reply(json=whole, fault=Fault.CLOSE_IN_BODY))
    yield Case(path, "reset", Reply(json=whole, fault=Fault.RESET_IN_BODY))
    yield Case(path, "closed before it", Reply(fault=Fault.CLOSE_BEFORE_ANSWER))
    yield Case(path, "cut by the server", Reply(body=raw[:-2], headers={"content-type": "application/json"}))
    yield Case(path, "too short", Reply(json=whole, fault=Fault.WRONG_CONTENT_LENGTH))
    yield Case(path, "no body", Reply(body=b"", headers={"content-type": "application/json"}))
    yield Case(path, "no object", Reply(json=[whole]))
    yield Case(path, "a stream that nobody asked for", Reply(chunks=STREAM.get(path, data(whole, DONE))))
    for number, document in enumerate(EMPTY[path]):
        yield Case(path, f"empty {number}", Reply(json=document))
    for number, document in enumerate(UNFINISHED.get(path, ())):
        yield Case(path, f"unfinished {number}", Reply(json=document))


def stream_cases(path: str) -> Iterator[Case]:
    """The same for a stream."""
    whole = STREAM[path]
    for fault in (Fault.CLOSE_IN_BODY, Fault.RESET_IN_BODY):
        for after in range(1, len(whole) + 1):  # after the last: all is there but the end that HTTP marks
            yield Case(path, f"{fault.value} after {after}", Reply(chunks=whole, fault=fault, after_chunks=after), True)
    yield Case(path, "status 500", Reply(500, chunks=whole), True)
    yield Case(path, "a plain answer", Reply(json=WHOLE[path]), True)
    for what, chunks in BROKEN[path].items():
        yield Case(path, what, Reply(chunks=chunks), True)


CASES = [case for path in ASKED for case in plain_cases(path)] + [
    case for path in STREAM for case in stream_cases(path)
]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    store = f"sqlite:///{tmp_path_factory.mktemp('incomplete')}/evalside.db"
    settings = Settings(
        upstream={"url": server.url, "namespace": "n"}, store=store, log_level="error", interceptors=["caching"]
    )
    with serving(settings, "") as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


def bodies(case: Case) -> list[dict[str, Any]]:
    """The request as often as it has a way to be stored: greedy, and drawn where the route draws."""
    body = {"model": "m", "nonce": f"{case.path} {case.what} {case.stream}", **ASKED[case.path]}
    if case.stream:
        body["stream"] = True
    return [{**body, "temperature": value} for value in (0, 1)] if case.path in STREAM else [body]


async def ask(session: aiohttp.ClientSession, proxy: Sidecar, path: str, body: dict[str, Any]) -> str | None:
    """What the cache says, whatever becomes of the answer."""
    try:
        async with session.post(proxy.url + path, json=body) as answer:
            with suppress(aiohttp.ClientPayloadError):
                await answer.read()
            return answer.headers.get("x-evalside-cache")
    except aiohttp.ClientError:
        return None


def stored(proxy: Sidecar, body: dict[str, Any]) -> int:
    """How many answers to the request are kept."""
    store = proxy.house.store
    proxy.on_loop(store.flush)
    with closing(sqlite3.connect(store.path)) as connection:
        rows = connection.execute("SELECT request FROM responses").fetchall()
    return sum(json.loads(row[0][1:]).get("nonce") == body["nonce"] for row in rows)


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.path} {case.what}{' of a stream' * case.stream}" for case in CASES]
)
async def test_it_is_never_stored(server: ModelServer, proxy: Sidecar, session, case: Case) -> None:
    server.on(case.path, case.reply)
    asked = bodies(case)
    for body in asked:
        for _ in range(2):
            assert await ask(session, proxy, case.path, body) in {"miss", None}
    assert stored(proxy, asked[0]) == 0
    server.on(case.path, Reply(chunks=STREAM[case.path]) if case.stream else Reply(json=WHOLE[case.path]))
    assert [await ask(session, proxy, case.path, asked[0]) for _ in range(2)] == ["miss", "hit"]
    for body in asked[1:]:
        assert await ask(session, proxy, case.path, body) == "miss"
    assert stored(proxy, asked[0]) == len(asked)


LEFT = [(path, stream) for path in ASKED for stream in (False, True) if not stream or path in STREAM]


@pytest.mark.parametrize("last", [False, True], ids=["in the middle", "before the end"])
@pytest.mark.parametrize(("path", "stream"), LEFT)
async def test_nor_what_was_abandoned(server, proxy: Sidecar, session, path: str, stream: bool, last: bool) -> None:
    """The client left, and the call was cancelled."""
    chunks = STREAM.get(path, [])
    whole: dict[str, Any] = (
        {"chunks": chunks, "after_chunks": len(chunks) if last else 1} if stream else {"json": WHOLE[path]}
    )
    if last and not stream:
        whole["after_bytes"] = len(json.dumps(WHOLE[path], separators=(",", ":")).encode()) - 1
    server.on(path, Reply(**whole, fault=Fault.STALL_IN_BODY))
    case = Case(path, f"abandoned {last}", Reply(), stream)
    for body in bodies(case):
        server.clear()
        asking = asyncio.create_task(ask(session, proxy, path, body))
        [call] = await server.requests_arrived(1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await call.wait_aborted()
    assert stored(proxy, bodies(case)[0]) == 0
