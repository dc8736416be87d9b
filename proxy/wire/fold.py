"""Streams as plain answers and plain answers as streams, on every route that has both; nothing is ever lost on the way.

The bodies are complete answers without content encoding. Numbers and fields that nobody knows stay as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.core.document import encode, parse
from proxy.wire import fold_choices, fold_messages, fold_responses, routes, sse
from proxy.wire.fold_merge import Lossy, alike, objects, without

CHUNKED = {routes.CHAT: fold_choices.CHAT, routes.COMPLETIONS: fold_choices.COMPLETIONS}
"""Routes whose streams are chunks without names, and show usage only to who asks."""


def folded(route: str, stream: bytes) -> bytes:
    """Return a stream as a plain answer.

    Raises:
        ValueError: something would be lost, or the stream has no usage, which every plain answer has.
    """
    answer = read(route, stream)
    if answer.get("usage") is None:
        raise Lossy("a stream without usage")
    return encode(answer)


def unfolded(route: str, answer: bytes, *, usage: bool) -> bytes:
    """Return a plain answer as a stream.

    Args:
        route: one of `routes.GENERATION`.
        answer: the plain answer.
        usage: whether the request asked for a usage chunk; the streams of `responses` and `messages` always count.

    Raises:
        ValueError: something would be lost, or usage is asked for and not there.
    """
    document = _exact(answer)
    if route in CHUNKED:
        stream = _chunks(fold_choices.restyle(fold_choices.unfold(document, CHUNKED[route]), usage=usage))
        document = document if usage else without(document, "usage")
    else:
        unfold = fold_responses.unfold if route == routes.RESPONSES else fold_messages.unfold
        stream = b"".join(_event(event) for event in unfold(document))
    if not alike(read(route, stream), document):
        raise Lossy("a stream cannot hold this answer")
    return stream


def restyled(stream: bytes, *, usage: bool) -> bytes:
    """Return a stream of `chat` or `completions` with a usage chunk at its end, or without any usage.

    Raises:
        ValueError: something would be lost, or usage is asked for and not there.
    """
    return _chunks(fold_choices.restyle(_documents(stream), usage=usage))


def read(route: str, stream: bytes) -> dict[str, Any]:
    """Return what a stream spells out; without usage where it has none.

    Raises:
        ValueError: something would be lost.
    """
    if route in CHUNKED:
        return fold_choices.fold(_documents(stream), CHUNKED[route])
    events = _documents(stream, named=True)
    return fold_responses.fold(events) if route == routes.RESPONSES else fold_messages.fold(events)


def _documents(stream: bytes, *, named: bool = False) -> list[dict[str, Any]]:
    """Return what the events hold, but for a `[DONE]` at the end."""
    events, cut = sse.split(stream)
    if events and events[-1].data == sse.DONE:
        events.pop()
    documents = [_exact(event.data) for event in events]
    names = [document.get("type") if named else "" for document in documents]
    known = all(type(name) is str and event.name in {"", name} for event, name in zip(events, names, strict=True))
    if cut or not known:
        raise Lossy("a stream that is cut, or an event of another name than its type")
    return documents


def _exact(raw: bytes) -> dict[str, Any]:
    document = parse(raw)
    if not document.exact:
        raise Lossy("not every parser reads it the same")
    return objects([document.value])[0]


def _chunks(documents: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + encode(document) + b"\n\n" for document in documents) + b"data: [DONE]\n\n"


def _event(document: dict[str, Any]) -> bytes:
    return b"event: " + str(document["type"]).encode() + b"\ndata: " + encode(document) + b"\n\n"
