"""Requests of a probe and what came back: pure data, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.core.http import Headers, get_header
from proxy.wire import sse

_REASONING = ("reasoning_content", "reasoning")
_TEXTS = (*_REASONING, "content")
_LONGEST = 160
"""Characters of evidence."""
_QUOTED = 48
"""Characters of what a model said."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. Equal ones are sent once."""

    path: bytes
    """As clients write it: below `/v1`, or beside it."""
    body: bytes | None = None
    """JSON that is posted; None is a GET."""
    take: int = 0
    """Which of several requests that say the same."""
    authorized: bool = True
    """Whether the key is sent, where there is one."""
    first_chunk: bool = False
    """Whether the answer is left as soon as it begins."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    """Without content encoding."""
    failure: str = ""
    """Why there was no answer."""

    @property
    def document(self) -> Any:
        """The body's JSON, None where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The body's JSON object, empty where it is none."""
        document = self.document
        return document if isinstance(document, dict) else {}

    @property
    def is_stream(self) -> bool:
        """Whether it is an event stream."""
        return sse.is_event_stream(self.headers)

    @property
    def content_type(self) -> str:
        """Without parameters."""
        given = get_header(self.headers, b"content-type") or b"nothing"
        return given.decode("latin-1").partition(";")[0]

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The choices of a plain answer."""
        return objects(self.fields.get("choices"))

    def usage(self, name: str) -> int | None:
        """Return a number of the answer's usage, None where it does not tell."""
        return number(self.fields.get("usage"), name)


@dataclass(frozen=True, slots=True)
class Stream:
    """An event stream, read."""

    chunks: list[dict[str, Any]]
    done: bool
    """Whether it ends with `[DONE]`."""

    @property
    def choices(self) -> list[dict[str, Any]]:
        """Every piece of a choice, in order."""
        return [choice for chunk in self.chunks for choice in objects(chunk.get("choices"))]

    @property
    def usages(self) -> list[dict[str, Any]]:
        """The chunks that tell usage."""
        return [chunk for chunk in self.chunks if isinstance(chunk.get("usage"), dict)]


def read_stream(answer: Answer) -> Stream:
    """Return the events of an answer."""
    chunks, done = [], False
    for event in sse.split(answer.body + b"\n\n").events:
        if event.data.strip() == sse.DONE:
            done = True
            continue
        document = Answer(body=event.data).document
        if isinstance(document, dict):
            chunks.append(document)
    return Stream(chunks, done)


def said(choice: Mapping[str, Any]) -> str:
    """Return what a choice says, reasoning included; in a plain answer or in a chunk."""
    inner = choice.get("message") or choice.get("delta")
    if not isinstance(inner, dict):
        text = choice.get("text")
        return text if isinstance(text, str) else ""
    return "".join(inner[name] for name in _TEXTS if isinstance(inner.get(name), str))


def content(answer: Answer) -> str:
    """Return what the first choice of a chat answers, without its reasoning."""
    inner = answer.choices[0].get("message") if answer.choices else None
    text = inner.get("content") if isinstance(inner, dict) else None
    return text if isinstance(text, str) else ""


def reasoning_field(answer: Answer) -> str | None:
    """Return the field of a chat message that holds reasoning, None where there is none."""
    for choice in answer.choices:
        inner = choice.get("message")
        for name in _REASONING:
            if isinstance(inner, dict) and isinstance(inner.get(name), str) and inner[name]:
                return name
    return None


def message(answer: Answer) -> str:
    """Return what an error says, in whatever shape; else the beginning of the body."""
    document = answer.document
    match document:
        case {"error": {"message": str(text)}} | {"error": str(text)} | {"message": str(text)} | {"detail": str(text)}:
            return text
        case {"error": inner} | {"detail": inner}:
            return orjson.dumps(inner).decode()
    return answer.body.decode("utf-8", "replace").strip()


def number(source: Any, name: str) -> int | None:
    """Return a whole number in an object, None where there is none."""
    value = source.get(name) if isinstance(source, dict) else None
    return value if type(value) is int else None


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list, none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def short(value: Any) -> str:
    """Return a value as evidence: text as it is, the rest as JSON, cut where it is long."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def quoted(text: str) -> str:
    """Return what a model said, as evidence: in quotation marks, its beginning where it is long."""
    shown = text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"
    return orjson.dumps(shown).decode()
