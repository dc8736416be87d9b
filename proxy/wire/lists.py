"""Routes without generation: an answer is complete when it has its list, one entry for each input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SCORED = ("text_1", "text_2", "data_1", "data_2", "queries", "documents", "items")


def embeddings_are_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is an embedding for each input."""
    data = _entries(answer, "data")
    return len(data) == _inputs(request.get("input")) and all(item.get("embedding") for item in data)


def rerank_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is a result for each document, or as many as `top_n` asks for."""
    results = _entries(answer, "results")
    documents, top = request.get("documents"), request.get("top_n")
    expected = len(documents) if isinstance(documents, list) else len(results)
    if type(top) is int and top > 0:
        expected = min(expected, top)
    return 0 < len(results) == expected and all(
        item.get("relevance_score", item.get("score")) is not None for item in results
    )


def score_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is a score for each pair: of two lists, or of one text and each of a list."""
    data = _entries(answer, "data")
    inputs = [request.get(name) for name in _SCORED]
    expected = max((len(texts) for texts in inputs if isinstance(texts, list)), default=1)
    return 0 < len(data) == expected and all(item.get("score") is not None for item in data)


def tokens_are_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is a list of tokens; of nothing but an empty text it may be empty."""
    tokens = answer.get("tokens")
    return isinstance(tokens, list) and (bool(tokens) or _is_empty(request))


def text_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is a text: `prompt` in vLLM's form, `content` in llama.cpp's."""
    return any(isinstance(answer.get(name), str) for name in ("prompt", "content"))


def _entries(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = answer.get(name)
    whole = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    return entries if isinstance(entries, list) and whole else []


def _inputs(value: Any) -> int:
    """Return how many inputs an embeddings request has: a list of token ids is one."""
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return len(value)
    return 1


def _is_empty(request: Mapping[str, Any]) -> bool:
    return "" in (request.get("prompt"), request.get("content"))
