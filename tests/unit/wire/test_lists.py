import json

import pytest

from proxy.wire import routes
from proxy.wire.complete import is_complete

ONE = {"embedding": [0.1]}
RANKED = {"index": 0, "relevance_score": 0.0}
SCORED = {"index": 0, "score": 0.0}


@pytest.mark.parametrize(
    ("route", "answer", "request_"),
    [
        (routes.EMBEDDINGS, {"data": [ONE]}, {"input": "a"}),
        (routes.EMBEDDINGS, {"data": [ONE]}, {"input": [1, 2, 3]}),
        (routes.EMBEDDINGS, {"data": [ONE, {"embedding": "AAAA"}]}, {"input": ["a", "b"]}),
        (routes.EMBEDDINGS, {"data": [ONE, ONE]}, {"input": [[1], [2, 3]]}),
        (routes.RERANK, {"results": [RANKED, {"score": 1}]}, {"documents": ["a", "b"]}),
        (routes.RERANK, {"results": [RANKED]}, {"documents": ["a", "b"], "top_n": 1}),
        (routes.RERANK, {"results": [RANKED]}, {"documents": ["a"], "top_n": 5}),
        (routes.RERANK, {"results": [RANKED]}, {"documents": ["a"], "top_n": 0}),
        (routes.RERANK, {"results": [RANKED]}, {"documents": {"content": []}, "top_n": None}),
        (routes.SCORE, {"data": [SCORED]}, {"text_1": "a", "text_2": "b"}),
        (routes.SCORE, {"data": [SCORED, SCORED]}, {"text_1": "a", "text_2": ["b", "c"]}),
        (routes.SCORE, {"data": [SCORED, SCORED]}, {"queries": ["a", "b"], "documents": ["b", "c"]}),
        (routes.TOKENIZE, {"tokens": [0]}, {"prompt": "a"}),
        (routes.TOKENIZE, {"tokens": []}, {"prompt": ""}),
        (routes.TOKENIZE, {"tokens": []}, {"content": ""}),
        (routes.DETOKENIZE, {"prompt": ""}, {"tokens": []}),
        (routes.DETOKENIZE, {"content": "x"}, {"tokens": [1]}),
    ],
)
def test_complete_answers(route, answer, request_):
    assert is_complete(route, request_, json.dumps(answer).encode(), streamed=False)


@pytest.mark.parametrize(
    ("route", "answer", "request_"),
    [
        (routes.EMBEDDINGS, {"data": []}, {"input": []}),
        (routes.EMBEDDINGS, {"data": ONE}, {"input": "a"}),
        (routes.EMBEDDINGS, {"data": ["x"]}, {"input": "a"}),
        (routes.EMBEDDINGS, {"data": [{"embedding": []}]}, {"input": "a"}),
        (routes.EMBEDDINGS, {"data": [{"embedding": None}]}, {"input": "a"}),
        (routes.EMBEDDINGS, {"data": [ONE, {}]}, {"input": ["a", "b"]}),
        (routes.EMBEDDINGS, {"data": [ONE]}, {"input": ["a", "b"]}),
        (routes.EMBEDDINGS, {"data": [ONE, ONE]}, {"input": "a"}),
        (routes.RERANK, {"results": []}, {"documents": []}),
        (routes.RERANK, {"results": []}, {}),
        (routes.RERANK, {"results": [RANKED]}, {"documents": ["a", "b"]}),
        (routes.RERANK, {"results": [RANKED, RANKED]}, {"documents": ["a", "b"], "top_n": 1}),
        (routes.RERANK, {"results": [{"relevance_score": None}]}, {"documents": ["a"]}),
        (routes.RERANK, {"results": [{}]}, {"documents": ["a"]}),
        (routes.SCORE, {"data": []}, {"text_1": "a", "text_2": []}),
        (routes.SCORE, {"data": [SCORED]}, {"text_1": "a", "text_2": ["b", "c"]}),
        (routes.SCORE, {"data": [SCORED, SCORED]}, {"text_1": "a", "text_2": "b"}),
        (routes.SCORE, {"data": [{"score": None}]}, {"text_1": "a", "text_2": "b"}),
        (routes.TOKENIZE, {"tokens": []}, {"prompt": "a"}),
        (routes.TOKENIZE, {"tokens": None}, {"prompt": ""}),
        (routes.TOKENIZE, {"count": 1}, {"prompt": "a"}),
        (routes.DETOKENIZE, {"prompt": None}, {"tokens": [1]}),
        (routes.DETOKENIZE, {"text": "x"}, {"tokens": [1]}),
    ],
)
def test_incomplete_answers(route, answer, request_):
    assert not is_complete(route, request_, json.dumps(answer).encode(), streamed=False)


@pytest.mark.parametrize("route", [routes.EMBEDDINGS, routes.RERANK, routes.SCORE, routes.TOKENIZE, routes.DETOKENIZE])
def test_these_routes_have_no_streams(route):
    assert not is_complete(route, {}, b'data: {"tokens": [1]}\n\ndata: [DONE]\n\n', streamed=True)
