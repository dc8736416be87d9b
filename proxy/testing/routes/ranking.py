"""POST /v1/rerank and /v1/score: deterministic relevance between 0 and 1."""

import time
import zlib
from typing import Any

from proxy.testing.errors import ApiError
from proxy.testing.generation import integer
from proxy.testing.model import Model, count_tokens
from proxy.testing.replies import Reply


def rerank(model: Model, body: dict[str, Any]) -> Reply:
    """Order documents by relevance, best first, at most `top_n`; raises ApiError."""
    name = model.name_for(body)
    query = _texts(body, "query")[0]
    documents = _texts(body, "documents")
    top = integer(body, "top_n", minimum=0) or len(documents)
    results = [
        {"index": index, "document": {"text": text}, "relevance_score": relevance(query, text)}
        for index, text in enumerate(documents)
    ]
    results.sort(key=lambda result: -float(str(result["relevance_score"])))
    tokens = sum(count_tokens(query) + count_tokens(text) for text in documents)
    answer = {"id": model.new_id("rerank-"), "model": name, "usage": {"total_tokens": tokens}, "results": results[:top]}
    return model.plain(answer, 0)


def score(model: Model, body: dict[str, Any]) -> Reply:
    """Score `text_1` against `text_2`, one to one or one to many; raises ApiError."""
    name = model.name_for(body)
    first, second = _texts(body, "text_1"), _texts(body, "text_2")
    if len(first) == 1:
        first *= len(second)
    if len(first) != len(second):
        raise ApiError(400, "text_1 must be one text or as many as text_2", param="text_1")
    pairs = list(zip(first, second, strict=True))
    tokens = sum(count_tokens(one) + count_tokens(two) for one, two in pairs)
    answer = {
        "id": model.new_id("score-"),
        "object": "list",
        "created": int(time.time()),
        "model": name,
        "data": [{"index": index, "object": "score", "score": relevance(*pair)} for index, pair in enumerate(pairs)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
    return model.plain(answer, 0)


def relevance(query: str, text: str) -> float:
    """A number between 0 and 1, the same for the same two texts."""
    return (zlib.crc32(f"{query}\0{text}".encode("utf-8", "surrogatepass")) % 10000) / 10000


def _texts(body: dict[str, Any], field: str) -> list[str]:
    value = body.get(field)
    texts = value if isinstance(value, list) else [value]
    found = [text.get("text") if isinstance(text, dict) else text for text in texts]
    if not found or not all(isinstance(text, str) for text in found):
        raise ApiError(400, f"{field} is required and must be text or a list of texts", param=field)
    return [str(text) for text in found]
