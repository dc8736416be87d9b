"""Event streams as model servers send them, and as they should not: strategies for tests of what edits answers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from hypothesis import strategies as st

from proxy.core.errors import ProxyError
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.pipeline import compose
from proxy.core.stream import ByteStream
from proxy.plugins import build, plan
from proxy.settings import InterceptorSpec
from proxy.wire.sse import split
from tests.unit.interceptors.alone import PATHS, services

PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<th",
        "ink>",
        "</",
        "\n",
        "a",
        " bc ",
        "\u2028",
        "\u2029",
        "\x85",
        "é",
        "😀",
        "한",
        "",
        "\\n",
    ]
)
"""Of text: tokens whole and in parts, what other parsers take for the end of a line, characters of 1 to 4 bytes."""
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
NOISE = st.sampled_from(
    [
        [b": a comment"],
        [b": ", b"data: {}"],
        [b"data: no JSON"],
        [b"data:"],
        [b"id: 7", b"retry: 10"],
        [b'data: {"error": {"message": "it broke", "code": 500}}'],
        [b'data: {"choices": []}'],
        [b'data: {"choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": null}]}'],
        [b'data: {"choices": null, "usage": null, "big": 18446744073709551616, "n": 1.50}'],
    ]
)
"""Events that have nothing to say, or that no editor may touch; each is a list of lines."""


class Stream(NamedTuple):
    """A stream and what it was made of."""

    body: bytes
    texts: dict[int, str]
    """What each choice said, reasoning included, piece by piece."""


def _event(document: Any, ascii_only: bool, lines: int) -> list[bytes]:
    raw = json.dumps(document, ensure_ascii=ascii_only).encode()
    if lines == 1:
        return [b"data: " + raw]
    comma = raw.index(b",") + 1
    data = [b"data: " + raw[:comma], b"data:" + raw[comma:]]
    return data if lines == 2 else [b"event: message", *data, b"id: 1"]


@st.composite
def streams(draw: st.DrawFn, route: str = "chat", *, noise: bool = True, whole: bool = False) -> Stream:
    """Return a stream of `chat` or `completions`; a `whole` one ends as it should."""
    head = {
        "id": "1",
        "object": "chat.completion.chunk" if route == "chat" else "text_completion",
        "created": 1,
        "model": "m",
    }
    count = draw(st.integers(1, 2))
    texts = dict.fromkeys(range(count), "")
    events: list[list[bytes]] = []

    def add(index: int, said: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": index, **(said if route != "chat" else {"delta": said}), "finish_reason": reason}
        events.append(
            _event({**head, "choices": [choice]}, draw(st.booleans()), draw(st.integers(1, 2 if whole else 4)))
        )

    field = "content" if route == "chat" else "text"
    if route == "chat":
        for index in range(count):
            add(index, {"role": "assistant", "content": draw(st.sampled_from(["", None]))})
    for _ in range(draw(st.integers(0, 8))):
        index, text = draw(st.integers(0, count - 1)), draw(PIECES)
        kind = draw(st.sampled_from([field, field, field, "reasoning_content", "reasoning"])) if not whole else field
        add(index, {kind: text})
        texts[index] += text
        if noise and draw(st.booleans()):
            events.append(draw(NOISE))
    for index in range(count):
        if whole or draw(st.booleans()):
            add(index, {} if route == "chat" else {"text": ""}, draw(st.sampled_from(["stop", "length"])))
    if whole or draw(st.booleans()):
        usage = {"prompt_tokens": 1, "completion_tokens": draw(st.integers(0, 6)), "total_tokens": 9}
        events.append(_event({**head, "choices": [], "usage": usage}, True, 1))
    end = draw(LINE_ENDS)
    body = b"".join(b"".join(line + end for line in lines) + end for lines in events)
    if whole or draw(st.booleans()):
        body += b"data: [DONE]" + end * 2
    elif draw(st.booleans()):
        body += b'data: {"choices": [{"index": 0'
    return Stream(body, texts)


def cuts(body: bytes) -> st.SearchStrategy[list[bytes]]:
    """Return the body in parts, cut anywhere: inside characters, line ends and tokens; some parts are empty."""

    def at(places: list[int]) -> list[bytes]:
        edges = [0, *sorted(places), len(body)]
        return [body[start:stop] for start, stop in itertools.pairwise(edges)]

    return st.one_of(
        st.lists(st.integers(0, len(body)), max_size=20).map(at),
        st.sampled_from([1, 2, 3, 7]).map(lambda size: at(list(range(size, len(body), size)))),
    )


class Outcome(NamedTuple):
    """What the client of a stream got."""

    body: bytes
    error: str | None
    """The code of our own error that ended it."""
    changed: list[str]
    """Fields of the answer that the ledger names."""

    @property
    def seen(self) -> tuple[Any, list[bytes], str | None]:
        """What a client can tell apart: events, comments and the error."""
        comments = [line for line in self.body.replace(b"\r", b"\n").split(b"\n") if line.startswith(b":")]
        return split(self.body), comments, self.error

    @property
    def documents(self) -> list[Any]:
        """What the events hold that are JSON objects."""
        found = []
        for event in split(self.body).events:
            try:
                found.append(json.loads(event.data))
            except ValueError:
                continue
        return [item for item in found if isinstance(item, dict)]


async def through(
    interceptors: Sequence[tuple[str, dict[str, Any]]],
    chunks: Sequence[bytes],
    *,
    route: str = "chat",
    encoding: bytes | None = None,
    **request: Any,
) -> Outcome:
    """Send a stream, chunk by chunk, through a pipeline of these interceptors."""
    asked = {"model": "m", "stream": True, **request}
    exchange = Exchange(Request("POST", PATHS[route], b"", [], Payload(json.dumps(asked).encode())), route=route)
    headers = [(b"content-type", b"text/event-stream")]
    headers += [(b"content-encoding", encoding)] if encoding is not None else []

    async def source():
        for chunk in chunks:
            yield chunk

    async def terminal(asked: Exchange) -> Response:
        return Response(200, headers, ByteStream(source()))

    specs = [InterceptorSpec(name=name, config=options) for name, options in interceptors]
    got = b""
    async with AsyncExitStack() as stack:
        response = await compose(await build(plan(specs), services(), stack), terminal)(exchange)
        try:
            if isinstance(response.body, Payload):
                got = response.body.raw
            else:
                async for chunk in response.body:
                    got += chunk
        except ProxyError as error:
            exchange.error = error
        finally:
            await response.aclose()
    changed = [change.field for change in exchange.ledger.changes if change.on == "answer"]
    return Outcome(got, exchange.error.code if exchange.error is not None else None, changed)
