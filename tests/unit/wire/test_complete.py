import json
from typing import Any

import pytest

from proxy.wire import routes
from proxy.wire.complete import is_complete

ALL = sorted(set(routes.PIPELINE.values()))
COMPLETE: dict[str, dict[str, Any]] = {
    routes.CHAT: {"choices": [{"message": {}, "finish_reason": "stop"}]},
    routes.COMPLETIONS: {"choices": [{"text": "", "finish_reason": "stop"}]},
    routes.RESPONSES: {"status": "completed", "output": [{}]},
    routes.MESSAGES: {"type": "message", "content": [], "stop_reason": "end_turn"},
    routes.EMBEDDINGS: {"data": [{"embedding": [0.5]}]},
    routes.RERANK: {"results": [{"relevance_score": 0}]},
    routes.SCORE: {"data": [{"score": 0}]},
    routes.TOKENIZE: {"tokens": [1]},
    routes.DETOKENIZE: {"prompt": "x"},
}


@pytest.mark.parametrize("route", ALL)
def test_every_route_has_a_rule(route):
    answer = COMPLETE[route]
    assert is_complete(route, {}, json.dumps(answer).encode(), streamed=False)
    assert is_complete(route, {}, json.dumps({**answer, "error": None}).encode(), streamed=False)


@pytest.mark.parametrize("route", ALL)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b'"x"', b"{}", b'{"error": {"message": "x"}}', b'{"error": "x"}']
)
def test_what_is_no_answer_is_incomplete_on_every_route(route, body):
    assert not is_complete(route, {}, body, streamed=False)


@pytest.mark.parametrize("route", ALL)
@pytest.mark.parametrize("error", [{}, {"message": "x"}, "x", False])
def test_an_error_in_a_200_is_incomplete_on_every_route(route, error):
    body = json.dumps({**COMPLETE[route], "error": error}).encode()
    assert not is_complete(route, {}, body, streamed=False)


@pytest.mark.parametrize("route", ALL)
def test_a_body_cut_anywhere_is_incomplete_on_every_route(route):
    body = json.dumps(COMPLETE[route]).encode()
    assert not any(is_complete(route, {}, body[:length], streamed=False) for length in range(len(body)))


@pytest.mark.parametrize("route", ALL)
@pytest.mark.parametrize("body", [b"", b"data: [DONE]\n\n", b"data: {}\n\ndata: [DONE]\n\n"])
def test_a_stream_without_an_answer_is_incomplete_on_every_route(route, body):
    assert not is_complete(route, {}, body, streamed=True)
