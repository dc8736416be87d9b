"""POST /v1/messages: a stream's events as one plain message, and back.

Format: https://docs.anthropic.com/en/docs/build-with-claude/streaming.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.core.document import encode, parse
from proxy.wire.fold_merge import Lossy, Rule, extended, joined, last, merge, objects, once, same

_FIELDS: dict[str, tuple[str, ...]] = {
    "message_start": ("type", "message"),
    "content_block_start": ("type", "index", "content_block"),
    "content_block_delta": ("type", "index", "delta"),
    "content_block_stop": ("type", "index"),
    "message_delta": ("type", "delta", "usage"),
    "message_stop": ("type",),
}
_JSON = "input_json_delta"
_PIECES: dict[str, tuple[tuple[str, str], ...]] = {
    "text": (("text_delta", "text"),),
    "thinking": (("thinking_delta", "thinking"), ("signature_delta", "signature")),
}
"""Type of a block -> types of its deltas, and the field of the block (and the delta) that comes in pieces."""

_TEXTS = {kind: name for pieces in _PIECES.values() for kind, name in pieces}
_BLOCK: dict[str, Rule] = {**dict.fromkeys(_TEXTS.values(), joined), "citations": extended, "partial_json": joined}
_STOP = ("stop_reason", "stop_sequence")


def fold(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the message that the events spell out.

    Raises:
        ValueError: an event or a field of it is not known, or comes where it cannot.
    """
    events = [event for event in events if event["type"] != "ping"]
    if any(event.keys() - _FIELDS.get(event["type"], ()) for event in events):
        raise Lossy("an event that is not known")
    kinds = [event["type"] for event in events]
    blocks = events[1 : kinds.index("message_delta")] if "message_delta" in kinds else []
    ends = events[len(blocks) + 1 : -1]
    order = ["message_start", *["content_block"] * len(blocks), *["message_delta"] * len(ends), "message_stop"]
    if not ends or [kind if "block" not in kind else "content_block" for kind in kinds] != order:
        raise Lossy("events in another order")
    [message] = objects([events[0].get("message")])
    deltas = objects([event.get("delta") for event in ends])
    # Later counts are those so far, so the last one of each holds.
    usage = merge(objects([message.get("usage"), *(event.get("usage") or {} for event in ends)]), {}, last)
    if message.get("content") != []:
        raise Lossy("content before the first block")
    whole = merge([message, *deltas], {}, same)
    return {**whole, "content": _blocks(blocks), "usage": usage}


def _blocks(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the content: blocks one after the other, each from its start to its stop."""
    content: list[dict[str, Any]] = []
    parts: list[Any] = []
    for event in events:
        kind = event["type"]
        if event.get("index") != len(content) or (kind == "content_block_start") == bool(parts):
            raise Lossy("blocks in another order")
        if kind == "content_block_stop":
            content.append(_block(objects(parts)))
            parts = []
        else:
            parts.append(event.get("content_block", event.get("delta")))
    if parts:
        raise Lossy("a block without an end")
    return content


def _block(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    start, *deltas = parts
    if "partial_json" in start:
        raise Lossy("a block has a field with the name of its pieces")
    block = merge([start, *(_piece(delta) for delta in deltas)], _BLOCK, once)
    written = block.pop("partial_json", None)
    if not written:
        return block
    document = parse(written.encode())
    if not document.exact or block.get("input") != {}:
        raise Lossy("an input that is not JSON, or comes twice")
    return {**block, "input": document.value}


def _piece(delta: dict[str, Any]) -> dict[str, Any]:
    """Return what a delta adds to its block."""
    kind = delta.get("type")
    if kind == "citations_delta" and delta.keys() == {"type", "citation"}:
        return {"citations": [delta["citation"]]}
    name = "partial_json" if kind == _JSON else _TEXTS.get(str(kind), "")
    if not name or delta.keys() != {"type", name}:
        raise Lossy("a delta that is not known")
    return {name: delta[name]}


def unfold(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the events that spell out a message.

    Raises:
        Lossy: it has no blocks or no usage.
    """
    [usage] = objects([message.get("usage")])
    stop = {name: message[name] for name in _STOP if name in message}
    start = {**message, **dict.fromkeys(stop), "content": [], "usage": {**usage, "output_tokens": 0}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(objects(message.get("content"))):
        began, deltas = _opened(block)
        events.append({"type": "content_block_start", "index": index, "content_block": began})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    counts = {"output_tokens": usage.get("output_tokens")}
    return [*events, {"type": "message_delta", "delta": stop, "usage": counts}, {"type": "message_stop"}]


def _opened(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as it starts, and the deltas that fill it; a block of another type starts whole."""
    if "input" in block:
        return {**block, "input": {}}, [{"type": _JSON, "partial_json": encode(block["input"]).decode()}]
    pieces = [(kind, name) for kind, name in _PIECES.get(str(block.get("type")), ()) if name in block]
    deltas = [{"type": kind, name: block[name]} for kind, name in pieces]
    return {**block, **{name: "" for _, name in pieces}}, deltas
