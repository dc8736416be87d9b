"""Logprobs of a chat in the shape of /v1/completions, and back. What would be lost is refused.

Formats: https://platform.openai.com/docs/api-reference/chat/object and /completions/object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.core.errors import AnswerNotEditable

_BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)")
"""How /v1/completions writes a token that is part of a character."""
_REPLACED = "\ufffd"


def as_chat(logprobs: Mapping[str, Any], top: int) -> dict[str, Any]:
    """Return the logprobs of a completion as a chat has them.

    Args:
        logprobs: `tokens`, `token_logprobs` and `top_logprobs`; offsets follow from the tokens.
        top: alternatives that were asked for. The shape holds the chosen token among them even where it is none.
    """
    tokens, scores = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(scores, list) or len(tokens) != len(scores):
        raise AnswerNotEditable("the model server's logprobs have not one score for each token")
    others = logprobs.get("top_logprobs") or [{}] * len(tokens)
    if not isinstance(others, list) or len(others) != len(tokens):
        raise AnswerNotEditable("the model server's logprobs have not one set of alternatives for each token")
    content = []
    for token, score, ranked in zip(tokens, scores, others, strict=True):
        if not isinstance(ranked, dict | None) or not all(_is_number(value) for value in (ranked or {}).values()):
            raise AnswerNotEditable("the alternatives of a token have to be scores by their text")
        best = sorted((ranked or {}).items(), key=lambda item: item[1], reverse=True)[:top]
        content.append({**_scored(token, score), "top_logprobs": [_scored(name, value) for name, value in best]})
    return {"content": content, "refusal": None}


def as_completion(logprobs: Mapping[str, Any], offset: int) -> dict[str, Any]:
    """Return the logprobs of a chat as a completion has them; the first token begins at `offset` of the text."""
    entries = logprobs.get("content")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AnswerNotEditable("the model server's logprobs have no list of tokens")
    shaped: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for entry in entries:
        others = entry.get("top_logprobs") or []
        if not isinstance(others, list) or not all(isinstance(other, dict) for other in others):
            raise AnswerNotEditable("the alternatives of a token have to be a list of tokens")
        ranked = [(_named(other), other.get("logprob")) for other in others]
        if len(dict(ranked)) != len(ranked):
            raise AnswerNotEditable(
                "two alternatives of a token have the same text, and /v1/completions names each once"
            )
        shaped["tokens"].append(_named(entry))
        shaped["token_logprobs"].append(entry.get("logprob"))
        shaped["top_logprobs"].append(dict(ranked))
        shaped["text_offset"].append(offset)
        offset += len(str(entry.get("token")))
    return shaped


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scored(token: Any, score: Any) -> dict[str, Any]:
    text = str(token)
    part = _BYTES.fullmatch(text)
    if part is not None:
        return {"token": text, "logprob": score, "bytes": list(bytes.fromhex(part[1].replace("\\x", "")))}
    return {"token": text, "logprob": score, "bytes": None if _REPLACED in text else list(text.encode())}


def _named(entry: Mapping[str, Any]) -> str:
    """Return a token's text, its bytes where it is part of a character."""
    text, raw = str(entry.get("token")), entry.get("bytes")
    if not isinstance(raw, list | None) or not all(type(byte) is int and 0 <= byte < 256 for byte in raw or ()):
        raise AnswerNotEditable("the bytes of a token have to be a list of numbers below 256")
    if raw is None or raw == list(text.encode()) or _BYTES.fullmatch(text):
        return text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
