"""POST /v1/responses: a stream's events as one plain response, and back.

Format: https://platform.openai.com/docs/api-reference/responses-streaming. The last event holds the whole response.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxy.wire.fold_merge import Lossy, alike, objects

_ENDS = ("response.completed", "response.incomplete")

_PARTS: dict[Any, tuple[str, str]] = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
    "summary_text": ("response.reasoning_summary_text", "text"),
}
"""Type of a part -> its events, and the field that comes in pieces."""

_ITEMS: dict[Any, tuple[str, str]] = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}
"""The same for items that have no parts."""

_LISTS = {
    "content": ("response.content_part", "content_index"),
    "summary": ("response.reasoning_summary_part", "summary_index"),
}
"""List of parts in an item -> the events around each part, and what they call its place."""

_STEPS = frozenset(
    {"response.created", "response.queued", "response.in_progress", "response.output_text.annotation.added"}
    | {f"{name}.{step}" for name in ("response.output_item", *(name for name, _ in _LISTS.values()))
       for step in ("added", "done")}
    | {f"{name}.{step}" for name, _ in (*_PARTS.values(), *_ITEMS.values()) for step in ("delta", "done")}
)  # fmt: skip
_FIELDS = frozenset(
    {"annotation", "annotation_index", "arguments", "content_index", "delta", "input", "item", "item_id", "logprobs"}
    | {"name", "obfuscation", "output_index", "part", "refusal", "response", "sequence_number", "summary_index"}
    | {"text", "type"}
)


def fold(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the response in the last event, if the events before it say nothing that is not in it.

    Raises:
        Lossy: they do, or one of them is not known.
    """
    *steps, last = events or [{}]
    if last.get("type") not in _ENDS or any(step["type"] not in _STEPS for step in steps):
        raise Lossy("an event that is not known, or no end")
    if any(event.keys() - _FIELDS for event in events):
        raise Lossy("an event has a field that is not known")
    [response] = objects([last.get("response")])
    earlier = objects([step["response"] for step in steps if "response" in step])
    if any(known.keys() - response.keys() for known in earlier):
        raise Lossy("the last event has not all of the response")
    done = [step.get("item") for step in steps if step["type"] == "response.output_item.done"]
    added = [step for step in steps if step["type"] == "response.output_item.added"]
    if len(added) != len(done) or not alike(done, response.get("output")):
        raise Lossy("the output is not what the items were")
    if any(step.get("logprobs") for step in steps) and not all(_scored(item) for item in objects(done)):
        raise Lossy("logprobs that only the events have")
    return response


def _scored(item: Mapping[str, Any]) -> bool:
    """Whether every text of an item has its logprobs."""
    return all(part.get("logprobs") for part in objects(item.get("content") or []) if part.get("type") == "output_text")


def unfold(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the events that spell out a response.

    Raises:
        Lossy: it has not ended, or its output is not a list of items.
    """
    end = f"response.{response.get('status')}"
    if end not in _ENDS:
        raise Lossy("the response has not ended")
    unknown_yet = {name: None for name in ("completed_at", "incomplete_details", "usage") if name in response}
    begun = {**response, **unknown_yet, "status": "in_progress", "output": []}
    events = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for place, item in enumerate(objects(response.get("output"))):
        events += _item(item, place)
    events.append({"type": end, "response": response})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _item(item: dict[str, Any], place: int) -> Iterator[dict[str, Any]]:
    name, field = _ITEMS.get(str(item.get("type")), ("", ""))
    empty = {"status": "in_progress", field: "", **{parts: [] for parts in _LISTS}}
    begun = {known: empty[known] if known in empty and value is not None else value for known, value in item.items()}
    yield {"type": "response.output_item.added", "output_index": place, "item": begun}
    where = {"item_id": item.get("id"), "output_index": place}
    if field in item:
        named = {"name": item["name"]} if "name" in item else {}
        yield {"type": f"{name}.delta", "delta": item[field], **where}
        yield {"type": f"{name}.done", field: item[field], **named, **where}
    for parts, (around, index) in _LISTS.items():
        for number, part in enumerate(objects(item.get(parts) or [])):
            inside = {**where, index: number}
            yield from _part(part, around, inside)
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _part(part: dict[str, Any], around: str, inside: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    name, field = _PARTS.get(str(part.get("type")), ("", ""))
    if field not in part:
        raise Lossy("a part that is not known")
    scored = {"logprobs": part.get("logprobs") or []} if part["type"] == "output_text" else {}
    yield {"type": f"{around}.added", "part": {**part, field: ""}, **inside}
    yield {"type": f"{name}.delta", "delta": part[field], **scored, **inside}
    yield {"type": f"{name}.done", field: part[field], **scored, **inside}
    yield {"type": f"{around}.done", "part": part, **inside}
