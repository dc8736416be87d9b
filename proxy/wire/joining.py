"""Answers to the same request, each with one choice of each prompt, as one answer with all the choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.core.difference import ABSENT, Difference, snapshot
from proxy.core.stream import StreamChange
from proxy.wire import sse
from proxy.wire.edits import EventEdits

_DONE = b"data: " + sse.DONE + b"\n\n"
_ENVELOPE = ("id", "created", "system_fingerprint")
"""What the chunks of one stream have in common, and those of several have not."""


def join(into: dict[str, Any], others: Sequence[Mapping[str, Any]]) -> None:
    """Put the choices of other plain answers into the first, and count the usage of all.

    Raises:
        ValueError: one of them has no choices.
    """
    answers = [into, *others]
    choices = []
    for place, answer in enumerate(answers):
        found = answer.get("choices")
        if not isinstance(found, list) or not found or not all(isinstance(choice, dict) for choice in found):
            raise ValueError("an answer has no choices")
        for position, choice in enumerate(found):
            choices.append({**choice, "index": _index(choice, position) * len(answers) + place})
    into["choices"] = sorted(choices, key=lambda choice: int(choice["index"]))
    usages = [answer["usage"] for answer in answers if isinstance(answer.get("usage"), dict)]
    if len(usages) == len(answers):
        into["usage"] = joined_usage(usages)


def joined_usage(usages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return usage that counts the prompt once, and what was generated in all."""
    joined = dict(usages[0])
    generated = [usage.get("completion_tokens") for usage in usages]
    if all(type(count) is int for count in generated):
        joined["completion_tokens"] = sum(generated)
        if type(joined.get("prompt_tokens")) is int:
            joined["total_tokens"] = joined["prompt_tokens"] + joined["completion_tokens"]
    details = [usage.get("completion_tokens_details") for usage in usages]
    if all(isinstance(detail, dict) for detail in details):
        joined["completion_tokens_details"] = _summed(details)
    return joined


def _summed(details: Sequence[Any]) -> dict[str, Any]:
    return {
        name: sum(detail.get(name, 0) for detail in details) if type(value) is int else value
        for name, value in details[0].items()
    }


def _index(choice: Mapping[str, Any], position: int) -> int:
    index = choice.get("index")
    return index if type(index) is int else position


class JoinedStreams:
    """Chunks of several streams in, chunks of one out. Whole events come out as soon as they are in.

    Args:
        count: of the streams.
        why: the reason that the ledger gets.
    """

    def __init__(self, count: int, why: str) -> None:
        self._why = why
        self._common: dict[str, Any] = {}
        self._usages: dict[int, dict[str, Any]] = {}
        self._counted: set[int] = set()
        self._count = count
        self._added: StreamChange | None = None
        self._readers = [sse.Parser() for _ in range(count)]
        self._done = 0
        self._streams = [EventEdits(_Member(self, place), why=why, keep_done=False) for place in range(count)]

    @property
    def changes(self) -> list[StreamChange]:
        """What became of the first stream, and that the events of the others were added."""
        return self._streams[0].changes + ([self._added] if self._added is not None else [])

    def feed(self, place: int, chunk: bytes) -> bytes:
        """Return the events that a chunk of one stream completes."""
        self._done += sum(event.data == sse.DONE for event in self._readers[place].feed(chunk))
        return self._streams[place].feed(chunk)

    def end(self, place: int) -> bytes:
        """Return what is left of one stream."""
        return self._streams[place].end()

    def finish(self) -> bytes:
        """Return the end of them all: one `[DONE]`, if each stream had its own."""
        return _DONE if self._done == self._count else b""

    def edited(self, place: int, document: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """Return what goes on in place of an event of one stream."""
        for name in _ENVELOPE:
            if name in document:
                document[name] = self._common.setdefault(name, document[name])
        listed = document.get("choices")
        found = listed if isinstance(listed, list) else []
        choices = [item for item in found if isinstance(item, dict)]
        for position, choice in enumerate(choices):
            choice["index"] = _index(choice, position) * self._count + place
        kept = self._with_usage(place, document, choices)
        if place and kept:
            added = self._added
            first = Difference(("event",), ABSENT, snapshot(document)) if added is None else added.what
            self._added = StreamChange(first, self._why, 1 if added is None else added.times + 1)
        return [document] if kept else []

    def _with_usage(self, place: int, document: dict[str, Any], choices: list[dict[str, Any]]) -> bool:
        """Put the usage of all into the last event that has one; return False for one that had nothing else."""
        usage = document.get("usage")
        if not isinstance(usage, dict):
            return True
        self._usages[place] = usage
        if choices and all(choice.get("finish_reason") is None for choice in choices):  # counted as it goes
            document["usage"] = joined_usage([self._usages[known] for known in sorted(self._usages)])
            return True
        self._counted.add(place)
        if len(self._counted) == self._count:
            document["usage"] = joined_usage([self._usages[known] for known in sorted(self._usages)])
            return True
        del document["usage"]
        return bool(choices)


class _Member:
    """The editor of one of the streams."""

    def __init__(self, joined: JoinedStreams, place: int) -> None:
        self._joined = joined
        self._place = place

    def edit(self, document: dict[str, Any]) -> Iterable[dict[str, Any]]:
        return self._joined.edited(self._place, document)

    def end(self) -> Iterable[dict[str, Any]]:
        return []
