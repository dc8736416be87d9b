"""Log probabilities in the two shapes of the OpenAI API, made up but consistent.

They are a pure function of a token and the text before it, so a given continuation scores the same in every request,
and the probabilities at one position never add up to more than 1. One thing differs from a real model: what it has just
generated counts as most likely, so the same text given back as a prompt can score lower.
"""

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from proxy.testing.generation import VOCABULARY

BURIED_RANK = 30
"""How far down a prompt token is that is not the most likely one."""


class Position(NamedTuple):
    """One scored token: its log probability and the most likely tokens there, best first."""

    token: str
    logprob: float
    top: list[tuple[str, float]]


def score(context: str, tokens: Sequence[str], top: int, generated: bool) -> list[Position]:
    """Score tokens that follow `context`, with the `top` most likely at each position.

    Generated tokens are always the most likely ones; about half of the given ones (`generated` false) are not.
    """
    positions = []
    checksum = zlib.crc32(context.encode("utf-8", "surrogatepass"))
    for token in tokens:
        positions.append(_position(token, checksum, top, generated))
        checksum = zlib.crc32(token.encode("utf-8", "surrogatepass"), checksum)
    return positions


def chat_shape(positions: Sequence[Position]) -> dict[str, Any]:
    """`{"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}]}`."""
    return {
        "content": [
            {**_entry(item.token, item.logprob), "top_logprobs": [_entry(*candidate) for candidate in item.top]}
            for item in positions
        ]
    }


def completion_shape(positions: Sequence[Position], offset: int = 0, first_unscored: bool = False) -> dict[str, Any]:
    """`{"tokens", "token_logprobs", "top_logprobs", "text_offset"}`, four lists of the same length.

    `offset` is where the first token starts in the text, in characters. `first_unscored` makes the first token's values
    null, as for the first token of an echoed prompt, before which there is nothing. As vLLM does, a token that is not
    among the most likely ones is added to `top_logprobs`, which then has one entry more than was asked for.
    """
    shape: dict[str, Any] = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
    for index, item in enumerate(positions):
        unscored = first_unscored and index == 0
        shape["text_offset"].append(offset)
        shape["tokens"].append(item.token)
        shape["token_logprobs"].append(None if unscored else item.logprob)
        shape["top_logprobs"].append(None if unscored else {**dict(item.top), item.token: item.logprob})
        offset += len(item.token)
    return shape


def _position(token: str, checksum: int, top: int, generated: bool) -> Position:
    best = 0.5 + 0.4 * (checksum % 1000) / 1000
    is_best = generated or zlib.crc32(token.encode("utf-8", "surrogatepass"), checksum) % 2 == 0
    rank = 0 if is_best else BURIED_RANK
    ranked = _candidates(token, checksum, max(top, 1))
    if is_best:
        ranked = [token, *ranked]
    likely = [(candidate, _logprob(best, index)) for index, candidate in enumerate(ranked[:top])]
    return Position(token, _logprob(best, rank), likely)


def _candidates(token: str, checksum: int, count: int) -> list[str]:
    start = checksum % len(VOCABULARY)
    words = [f" {VOCABULARY[(start + index) % len(VOCABULARY)]}" for index in range(count + 1)]
    return [word for word in words if word != token][:count]


def _logprob(best: float, rank: int) -> float:
    """Rank 0 has probability `best`; each rank below has half of what the ranks above left over."""
    return math.log(best) if rank == 0 else math.log(1 - best) - rank * math.log(2)


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}
