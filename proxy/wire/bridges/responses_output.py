"""The output of a response, put together from the pieces of a chat's answer, with the events that tell of each.

Format: https://platform.openai.com/docs/api-reference/responses-streaming. An item ends where the next begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proxy.core.errors import AnswerNotEditable

Event = dict[str, Any]


class Kind(NamedTuple):
    """A kind of text."""

    item: str
    prefix: str
    """Of the item's ID."""
    part: str
    field: str
    """Of the part, where its text is."""
    events: str


REASONING = Kind("reasoning", "rs", "reasoning_text", "text", "response.reasoning_text")
CONTENT = Kind("message", "msg", "output_text", "text", "response.output_text")
REFUSAL = Kind("message", "msg", "refusal", "refusal", "response.refusal")


@dataclass(slots=True)
class _Open:
    """The item that is being written."""

    item: dict[str, Any]
    place: int
    call: int | None = None
    """Which call of the chat it is, for a function call."""
    kind: Kind | None = None
    """Of the part that is being written."""
    text: list[str] = field(default_factory=list)
    """Pieces of that part, or of a call's arguments."""
    logprobs: list[Any] = field(default_factory=list)

    @property
    def where(self) -> dict[str, Any]:
        return {"item_id": self.item["id"], "output_index": self.place}

    @property
    def inside(self) -> dict[str, Any]:
        return {**self.where, "content_index": len(self.item["content"])}


class Output:
    """The items so far. Every method yields the events that its piece makes.

    Args:
        base: what the IDs of the items are made of.
    """

    def __init__(self, base: str) -> None:
        self.items: list[dict[str, Any]] = []
        """Those that are whole."""
        self._base = base
        self._open: _Open | None = None
        self._waiting: list[Any] = []  # logprobs of tokens that came before the text did
        self._calls: set[int] = set()

    def say(self, kind: Kind, text: str) -> Iterator[Event]:
        """Add a piece of text."""
        if self._open is None or self._open.item["type"] != kind.item:
            yield from self._begin(kind.prefix, {"type": kind.item, **_empty(kind)})
        assert self._open is not None
        if self._open.kind is not kind:
            yield from self._end_part()
            self._open.kind = kind
            yield {"type": "response.content_part.added", "part": _part(kind), **self._open.inside}
        scored, self._waiting = (self._waiting, []) if kind is CONTENT else ([], self._waiting)
        self._open.text.append(text)
        self._open.logprobs += scored
        with_logprobs = {"logprobs": scored} if kind is CONTENT else {}
        yield {"type": f"{kind.events}.delta", "delta": text, **with_logprobs, **self._open.inside}

    def score(self, logprobs: list[Any]) -> None:
        """Note the logprobs of tokens, for the next piece of content."""
        self._waiting += logprobs

    @property
    def unplaced(self) -> bool:
        """Whether logprobs came with which no content came."""
        return bool(self._waiting)

    def call(self, number: int, call_id: str | None, name: str) -> Iterator[Event]:
        """Begin a function call, the chat's `number`th."""
        if number in self._calls:
            raise AnswerNotEditable("the model server went on with a tool call behind the next one")
        self._calls.add(number)
        identity = call_id or f"call_{self._base}_{number}"
        item = {"type": "function_call", "call_id": identity, "name": name, "arguments": ""}
        yield from self._begin("fc", item, number)

    def is_calling(self, number: int) -> bool:
        """Return whether this call is the item that is being written."""
        return self._open is not None and self._open.call == number

    def argue(self, piece: str) -> Iterator[Event]:
        """Add a piece of the arguments of the call that is being written."""
        assert self._open is not None
        if piece:
            self._open.text.append(piece)
            yield {"type": "response.function_call_arguments.delta", "delta": piece, **self._open.where}

    def end(self, status: str) -> Iterator[Event]:
        """End the last item with this status; an answer that said nothing is an empty message."""
        if self._open is None and not self.items:
            yield from self.say(CONTENT, "")
        yield from self._end_item(status)

    def broken(self) -> list[dict[str, Any]]:
        """Return the items of an answer that breaks off here, the last one incomplete."""
        for _ in self._end_item("incomplete"):
            pass
        return self.items

    def _begin(self, prefix: str, item: dict[str, Any], call: int | None = None) -> Iterator[Event]:
        yield from self._end_item("completed")
        place = len(self.items)
        identity = f"{prefix}_{self._base}" + (f"_{place}" if place else "")
        self._open = _Open({"id": identity, **item, "status": "in_progress"}, place, call)
        yield {"type": "response.output_item.added", "output_index": place, "item": _copy(self._open.item)}

    def _end_part(self) -> Iterator[Event]:
        opened = self._open
        if opened is None or opened.kind is None:
            return
        if self._waiting and opened.kind is CONTENT:
            yield from self.say(CONTENT, "")
        kind, text = opened.kind, "".join(opened.text)
        inside = opened.inside
        scored = {"logprobs": opened.logprobs} if kind is CONTENT else {}
        part = {**_part(kind), kind.field: text, **scored}
        opened.item["content"].append(part)
        opened.text, opened.logprobs, opened.kind = [], [], None
        yield {"type": f"{kind.events}.done", kind.field: text, **scored, **inside}
        yield {"type": "response.content_part.done", "part": part, **inside}

    def _end_item(self, status: str) -> Iterator[Event]:
        opened = self._open
        if opened is None:
            return
        yield from self._end_part()
        item = opened.item
        if opened.call is not None:
            item["arguments"] = "".join(opened.text)
            done = {"name": item["name"], "arguments": item["arguments"], **opened.where}
            yield {"type": "response.function_call_arguments.done", **done}
        item["status"] = status
        self.items.append(item)
        self._open = None
        yield {"type": "response.output_item.done", "output_index": opened.place, "item": item}


def _empty(kind: Kind) -> dict[str, Any]:
    """Return what an item for this kind of text has beside its type."""
    return {"summary": [], "content": []} if kind is REASONING else {"role": "assistant", "content": []}


def _part(kind: Kind) -> dict[str, Any]:
    """Return a part without its text."""
    scored: dict[str, Any] = {"annotations": [], "logprobs": []} if kind is CONTENT else {}
    return {"type": kind.part, kind.field: "", **scored}


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, list) else value for name, value in item.items()}
