"""Routes without generation: an answer is complete when it has its list, one entry for each input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def embeddings_are_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is an embedding for each input."""
    data = _entries(answer, "data")
    return len(data) == _inputs(request.get("input")) and all(item.get("embedding") for item in data)


def rerank_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there are ranked results."""
    return bool(_entries(answer, "results"))


def score_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there are scores."""
    return bool(_entries(answer, "data"))


def tokens_are_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is a list of tokens; of nothing but an empty text it may be empty."""
    tokens = answer.get("tokens")
    return answer.get("error") is None and isinstance(tokens, list) and (bool(tokens) or _is_empty(request))


def text_is_complete(answer: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether there is a text: `prompt` in vLLM's form, `content` in llama.cpp's."""
    return answer.get("error") is None and any(isinstance(answer.get(name), str) for name in ("prompt", "content"))


def _entries(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = answer.get(name)
    if answer.get("error") is not None or not isinstance(entries, list):
        return []
    return entries if all(isinstance(entry, dict) for entry in entries) else []


def _inputs(value: Any) -> int:
    """Return how many inputs an embeddings request has: a list of token ids is one."""
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return len(value)
    return 1


def _is_empty(request: Mapping[str, Any]) -> bool:
    return "" in (request.get("prompt"), request.get("content"))
