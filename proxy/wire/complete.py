"""Whether an answer is complete, by each route's own end rule. Only complete answers may be stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proxy.wire import chat, lists, messages, responses, routes, sse
from proxy.wire.answer import Answer
from proxy.wire.fold import CHUNKED

_PLAIN: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    routes.RESPONSES: responses.plain_is_complete,
    routes.MESSAGES: messages.plain_is_complete,
    routes.EMBEDDINGS: lists.embeddings_are_complete,
    routes.RERANK: lists.rerank_is_complete,
    routes.SCORE: lists.score_is_complete,
    routes.TOKENIZE: lists.tokens_are_complete,
    routes.DETOKENIZE: lists.text_is_complete,
}
_STREAMED: dict[str, Callable[[Sequence[sse.Event], Mapping[str, Any]], bool]] = {
    routes.RESPONSES: responses.stream_is_complete,
    routes.MESSAGES: messages.stream_is_complete,
}


def is_complete(route: str, request: Mapping[str, Any], body: bytes, *, streamed: bool) -> bool:
    """Return whether the decoded body of a 200 answers `request` to its end.

    Args:
        route: one of `proxy.wire.routes`.
        request: the document that was sent upstream.
        body: all bytes of the answer, content encoding removed.
        streamed: whether the answer is an event stream.
    """
    return completes(route, request, Answer(body, streamed=streamed))


def completes(route: str, request: Mapping[str, Any], answer: Answer) -> bool:
    """Return the same of an answer that others look into, too."""
    if answer.streamed and answer.is_broken:
        return False
    if route in CHUNKED:
        return chat.is_complete(answer, request, CHUNKED[route])
    if answer.streamed:
        events = answer.stream.events
        return route in _STREAMED and _STREAMED[route](events, request)
    [document] = answer.parsed
    return isinstance(document, dict) and document.get("error") is None and _PLAIN[route](document, request)
