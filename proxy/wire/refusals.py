"""Which parameters a model server refuses, as its error says. What it says of their values is not read.

Messages seen from: transformers serve ("Unexpected fields in the request: {'foo'}"), FastAPI and pydantic (type
`extra_forbidden`; vLLM and TensorRT-LLM put the list into the message as Python writes it), NVIDIA's hosted NIM
("body -> n", and on the next line "Extra inputs are not permitted"), OpenAI and Azure ("Unrecognized request argument
supplied: top_k", "Unknown parameter: 'foo'.", code `unsupported_parameter`).
"""

from __future__ import annotations

import re
from typing import Any

import orjson

STATUSES = frozenset({400, 422})
"""Those with which servers refuse a parameter."""

_LARGEST = 64 * 1024
"""Bytes of an error that are looked through; no server needs more to name a parameter."""
_CODES = frozenset({"unsupported_parameter", "unknown_parameter"})
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_QUOTED = re.compile(rf"['\"]({_NAME})['\"]")
_LISTS = (
    re.compile(r"(?:Unexpected|Unsupported) (?:fields|keys) in the request: \{([^}]*)\}"),
    re.compile(r"Unrecognized request arguments? supplied: ([\w, ]+)"),
)
_SINGLE = (
    re.compile(rf"Unknown parameter: ['\"]({_NAME})['\"]"),
    re.compile(rf"Unsupported parameter: ['\"]({_NAME})['\"]"),
    re.compile(rf"extra_forbidden['\"], ['\"]loc['\"]: \(['\"]body['\"], ['\"]({_NAME})['\"]\)"),
    re.compile(rf"(?:body -> )?\b({_NAME})(?::|\s*\n)\s*Extra inputs are not permitted"),
)
_INSTEAD = re.compile(r"\bUse ['\"]")
"""The server has another name for it: leaving it out would lose what was asked."""


def refused_parameters(body: bytes) -> set[str]:
    """Return the top-level parameters that the body of a 400 or 422 names as unknown; empty where it names none."""
    if len(body) > _LARGEST:
        return set()
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return set()
    found: set[str] = set()
    for part in _parts(document):
        found |= _named(part)
    return found


def _parts(document: Any) -> list[Any]:
    """Return every place in which servers say what is wrong."""
    if not isinstance(document, dict):
        return []
    detail, error = document.get("detail"), document.get("error")
    parts = [document, document.get("message"), error, *(detail if isinstance(detail, list) else [detail])]
    if isinstance(error, dict):
        parts.append(error.get("message"))
    return parts


def _named(part: Any) -> set[str]:
    match part:
        case str():
            return _in_text(part)
        case {"type": "extra_forbidden", "loc": ["body", str(name)]}:
            return {name}
        case {"code": str(code), "param": str(name)} if code in _CODES and not _suggests(part):
            return {name}
    return set()


def _suggests(error: dict[str, Any]) -> bool:
    return _INSTEAD.search(str(error.get("message"))) is not None


def _in_text(text: str) -> set[str]:
    if _INSTEAD.search(text):
        return set()
    found = {name for pattern in _SINGLE for name in pattern.findall(text)}
    for pattern in _LISTS:
        for listed in pattern.findall(text):
            quoted = _QUOTED.findall(listed)
            found |= set(quoted or re.findall(_NAME, listed))
    return found
