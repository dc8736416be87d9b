"""The cache key: what two requests must share for one answer to be right for both."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from proxy.core.document import FloatLiteral, encode
from proxy.core.http import Headers

_NAME = itemgetter(0)

KEY_VERSION = b"1"
"""Part of every key; raised whenever the canonical form changes, so that old entries can never answer new requests."""

DENIED = frozenset(
    {"metadata", "prompt_cache_key", "safety_identifier", "stream", "stream_options", "user"},
)
"""Top-level fields that never change an answer and so stay out of the key. Every other one, known or not, is in it."""

NUMERIC = frozenset(
    {
        "frequency_penalty",
        "length_penalty",
        "min_p",
        "presence_penalty",
        "repetition_penalty",
        "temperature",
        "top_p",
        "typical_p",
    }
)
"""Top-level numbers that count by value (`1` is `1.0`); everywhere else a number counts as it is written."""

PROMPT = (
    "messages",
    "prompt",
    "input",
    "system",
    "instructions",
    "query",
    "queries",
    "documents",
    "text_1",
    "text_2",
    "content",
    "tokens",
)
"""Top-level fields that say what is asked; the others say how."""

KEY_HEADERS = (b"anthropic-beta", b"anthropic-version", b"openai-beta", b"openai-organization", b"openai-project")
"""Headers that are part of the key by default: they choose an account's models or a beta's behavior."""


def canonical(document: Mapping[str, Any], denied: Collection[str] = DENIED) -> bytes:
    """Return the canonical form of a request body, without the fields in `denied`.

    Order is ignored at the top level and among a message's own keys, and nowhere else: the order of a JSON schema's
    properties changes what a server generates.

    Raises:
        ValueError: the document holds what JSON cannot carry.
    """
    kept = {name: _canonical_field(name, document[name]) for name in sorted(document) if name not in denied}
    return encode(kept)


def _canonical_field(name: str, value: Any) -> Any:
    if name == "messages" and isinstance(value, list):
        return [_by_key(message) if isinstance(message, dict) else message for message in value]
    if name in NUMERIC and isinstance(value, float):
        return _plain_number(value)
    return value


def _by_key(message: dict[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in sorted(message)}


def _plain_number(value: float) -> float | int | FloatLiteral:
    """Return the number without its spelling: `1.0` becomes 1, `0.10` becomes 0.1."""
    if value.is_integer():
        return int(value)
    return value if value in (float("inf"), float("-inf")) else float(value)


def digest(parts: Sequence[bytes]) -> bytes:
    """Return the SHA-256 over `parts`, each with its length before it, so that no two lists of parts run together."""
    return hashlib.sha256(_with_lengths(parts)).digest()


def _with_lengths(parts: Sequence[bytes]) -> bytes:
    return b"".join([piece for part in parts for piece in (len(part).to_bytes(8, "big"), part)])


class KeyInput(NamedTuple):
    """What a key is made of beside the body."""

    identity: str
    method: str
    path: bytes
    query: bytes
    headers: Headers


def cache_key(of: KeyInput, body: bytes, key_headers: Sequence[bytes] = KEY_HEADERS) -> bytes:
    """Return the 32-byte key of a request whose body has the canonical form `body`."""
    beside = _beside(of.identity, of.method, of.path, of.query, tuple(key_fields(of.headers, key_headers)))
    return hashlib.sha256(b"".join((beside, len(body).to_bytes(8, "big"), body))).digest()


def key_fields(headers: Headers, key_headers: Collection[bytes]) -> Headers:
    """Return the fields of these names, sorted by them; the values of one name keep their order."""
    named = [(lower, value) for name, value in headers if (lower := name.lower()) in key_headers]
    if len(named) > 1:
        named.sort(key=_NAME)
    return named


@lru_cache(maxsize=1024)  # of all requests of a run it is the same
def _beside(identity: str, method: str, path: bytes, query: bytes, named: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return what is hashed before a body's length; no secret is in it."""
    parts = [KEY_VERSION, identity.encode(), method.encode(), path, query, str(len(named)).encode()]
    for name, value in named:
        parts += [name, value]
    return _with_lengths(parts)


def prompt_hash(document: Mapping[str, Any]) -> bytes:
    """Return eight bytes that requests with the same prompt share, whatever their other fields.

    Raises:
        ValueError: the document holds what JSON cannot carry.
    """
    asked = {name: _canonical_field(name, document[name]) for name in PROMPT if name in document}
    return digest([encode(asked)])[:8]


def is_deterministic(document: Mapping[str, Any]) -> bool:
    """Return whether a sampling route's body asks for greedy decoding: `temperature` exactly the number 0."""
    temperature = document.get("temperature")
    if isinstance(temperature, FloatLiteral):  # 1e-400 reads as 0 too
        return not temperature.text.lower().partition("e")[0].strip("-.0")
    return isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
