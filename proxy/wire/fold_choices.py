"""POST /v1/chat/completions and /v1/completions: a stream's chunks as one plain answer, and back.

Formats: https://platform.openai.com/docs/api-reference/chat-streaming and /completions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from proxy.wire.fold_merge import (
    Lossy,
    Rule,
    by_index,
    extended,
    first,
    grouped,
    joined,
    members,
    merge,
    objects,
    once,
    same,
    without,
)


class Form(NamedTuple):
    """What a route calls its objects, and the field of a choice that comes in pieces."""

    chunk: str
    answer: str
    piece: str
    whole: str
    nothing: Any
    """The piece of a chunk that only finishes a choice."""


CHAT = Form("chat.completion.chunk", "chat.completion", "delta", "message", {})
COMPLETIONS = Form("text_completion", "text_completion", "text", "text", "")

_ENVELOPE = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
"""Fields of the answer that each chunk repeats."""

_CHUNK: dict[str, Rule] = {
    "created": first,  # llama.cpp stamps each chunk
    "obfuscation": first,  # padding, random in each chunk
}
_FUNCTION = members({"name": same, "arguments": joined})
_CALL: dict[str, Rule] = {
    "id": same,
    "type": same,
    "function": _FUNCTION,
    "custom": members({"name": same, "input": joined}),
}
_DELTA: dict[str, Rule] = {
    "role": same,
    "content": joined,
    "reasoning_content": joined,
    "reasoning": joined,
    "refusal": joined,
    "function_call": _FUNCTION,
    "tool_calls": by_index(_CALL),
}
_LOGPROBS = ("content", "refusal", "tokens", "token_logprobs", "top_logprobs", "text_offset")
_CHOICE: dict[str, Rule] = {
    "index": same,
    "delta": members(_DELTA),
    "text": joined,
    "logprobs": members(dict.fromkeys(_LOGPROBS, extended)),
    "token_ids": extended,  # vLLM
}


def fold(chunks: Sequence[Mapping[str, Any]], form: Form) -> dict[str, Any]:
    """Return the plain answer that the chunks spell out; without usage where they have none.

    Raises:
        Lossy: a chunk has what a plain answer could not hold, or what nobody knows how to put together.
    """
    entries: list[Mapping[str, Any]] = []
    for chunk in chunks:
        found = objects(chunk.get("choices"))
        if len(grouped(found)) != len(found):
            raise Lossy("a chunk has two entries for one choice")
        entries += found
    envelope = merge((without(chunk, "choices", "obfuscation") for chunk in chunks), _CHUNK, same)
    if not entries or envelope.get("object") != form.chunk:
        raise Lossy(f"not a stream of {form.chunk}")
    choices = [_folded(pieces, form) for pieces in grouped(entries).values()]
    return {**envelope, "object": form.answer, "choices": choices}


def _folded(pieces: Sequence[Mapping[str, Any]], form: Form) -> dict[str, Any]:
    *before, last = (piece.get("finish_reason") is not None for piece in pieces)
    if any(before) or not last:
        raise Lossy("a choice goes on after its finish reason, or has none")
    choice = merge(pieces, _CHOICE, once)
    whole = choice.pop(form.piece, None)
    if type(whole) is not type(form.nothing) or form.whole in choice:
        raise Lossy(f"a choice has no {form.piece}, or a {form.whole} beside it")
    offsets = (choice.get("logprobs") or {}).get("text_offset")
    if offsets and offsets.count(0) > 1:
        raise Lossy("each chunk counts its text offsets from 0")
    return {**choice, form.whole: whole}


def unfold(answer: Mapping[str, Any], form: Form) -> list[dict[str, Any]]:
    """Return chunks that spell out a plain answer; the last has what belongs to no choice, usage among it.

    Raises:
        Lossy: it has no choices.
    """
    envelope = {name: answer[name] for name in _ENVELOPE if name in answer} | {"object": form.chunk}
    chunks = []
    for choice in objects(answer.get("choices")):
        index = choice.get("index")
        start = {"index": index, form.piece: _indexed(choice.get(form.whole)), "finish_reason": None}
        if "logprobs" in choice:
            start["logprobs"] = choice["logprobs"]
        end = {"index": index, form.piece: form.nothing, **without(choice, form.whole, "logprobs")}
        chunks += [{**envelope, "choices": [start]}, {**envelope, "choices": [end]}]
    if not chunks:
        raise Lossy("an answer without choices")
    chunks[-1].update(without(answer, *_ENVELOPE, "choices"))
    return chunks


def _indexed(whole: Any) -> Any:
    """Return a message as a delta: with indexes on its tool calls."""
    calls = whole.get("tool_calls") if type(whole) is dict else None
    if calls is None:
        return whole
    return {**whole, "tool_calls": [{"index": index, **call} for index, call in enumerate(objects(calls))]}


def restyle(chunks: Sequence[Mapping[str, Any]], *, usage: bool) -> list[dict[str, Any]]:
    """Return a stream with usage in a chunk of its own at its end, as `include_usage` asks for it, or without any.

    llama.cpp puts what it has to say at the end (timings) into the usage chunk, or into the last other one if there is
    none; so does this.

    Raises:
        Lossy: usage is asked for and not there, or there more than once.
    """
    places = [place for place, chunk in enumerate(chunks) if chunk.get("usage") is not None]
    if len(places) > 1 or (usage and not places):
        raise Lossy("usage is missing, or counted in several chunks")
    bare = [without(chunk, "usage") for chunk in chunks]
    for place in places:
        if bare[place].get("choices") == [] and place > 0:
            own = without(bare.pop(place), "choices")
            bare[place - 1] = merge([bare[place - 1], own], _CHUNK, same)
    if not usage:
        return bare
    envelope = {name: bare[-1][name] for name in _ENVELOPE if name in bare[-1]}
    last = {**envelope, "choices": [], "usage": chunks[places[0]]["usage"]}
    return [*({**chunk, "usage": None} for chunk in bare), last]
