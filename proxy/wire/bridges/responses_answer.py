"""The answer of a chat as a response, whole or event by event.

Formats: https://platform.openai.com/docs/api-reference/chat/object and /responses/object. Both ways are one: a plain
answer is a stream of one piece, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from proxy.core.document import encode
from proxy.core.errors import AnswerNotEditable
from proxy.wire.bridges.choices import choices_of
from proxy.wire.bridges.losses import says_something
from proxy.wire.bridges.responses_output import CONTENT, REASONING, REFUSAL, Event, Output

ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Fields of the request that a response repeats, and what they are where the request has none."""

COMPLETED = frozenset({"stop", "tool_calls", "eos", "eos_token", "stop_sequence"})
"""Finish reasons of an answer that ran to its end."""
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reason -> `incomplete_details.reason`."""

_CHUNK = frozenset({"id", "object", "created", "model", "choices", "usage", "obfuscation"})
_CHOICE = frozenset({"index", "delta", "message", "finish_reason", "logprobs"})
_OWN = frozenset({"created_at", "error", "incomplete_details", "output", "status", "store", *ECHOED})
"""Fields of a response that none of an answer may replace."""
_SAID = frozenset({"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"})
_MEANT = ("audio", "function_call")
"""What of a message cannot be left out."""


class Asked(NamedTuple):
    """What a response repeats of its request."""

    request: Mapping[str, Any]
    fallback: str
    """What IDs are made of where the model server gives none."""


class Answer:
    """One response on its way. Methods yield its events; `lost` names the fields that it has no place for."""

    def __init__(self, asked: Asked) -> None:
        self.lost: list[str] = []
        self.response: dict[str, Any] = {}
        """The response as far as it is known."""
        self.ended = False
        self._asked = asked
        self._output = Output("")
        self._reason = "null"
        self._events = 0
        self._calls: dict[int, _Call] = {}
        self._numbers: dict[int, int] = {}  # of the call that an index stands for

    def take(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Add one chunk of a stream, or a plain answer.

        Raises:
            AnswerNotEditable: it holds what no response can.
        """
        if not self.response:
            yield from self._begin(chunk)
        self._note(chunk)
        choices = choices_of(chunk)
        if len(choices) > 1 or any(choice.get("index", 0) != 0 for choice in choices):
            raise AnswerNotEditable("the model server gave several choices, and a response has one")
        for choice in choices:
            for event in self._choice(choice):
                yield self._numbered(event)

    def end(self) -> Iterator[Event]:
        """End the response as the finish reason says."""
        if self.ended:
            return
        self.ended = True
        details = INCOMPLETE.get(self._reason)
        if details is None and self._reason not in COMPLETED:
            yield from self._failed(f"the model server's answer ended with finish reason '{self._reason}'")
            return
        for call in self._calls.values():
            if not call.begun:
                raise AnswerNotEditable("the model server called a tool without a name")
        for event in self._output.end("incomplete" if details else "completed"):
            yield self._numbered(event)
        if self._output.unplaced:
            self._lose("choices[].logprobs")
        status = "incomplete" if details else "completed"
        self.response |= {
            "status": status,
            "incomplete_details": {"reason": details} if details else None,
            "output": self._output.items,
        }
        yield self._numbered({"type": f"response.{status}", "response": self.response})

    def fail(self, error: Any) -> Iterator[Event]:
        """End the response where the stream tells of an error: first the response as failed, then the error itself."""
        message = error.get("message") if isinstance(error, dict) else error
        code = error.get("code") if isinstance(error, dict) else None
        self.ended = True
        yield from self._failed(str(message))
        # The format's own fields, and the object without which the OpenAI SDK takes this for an event like any other.
        told = {"code": None if code is None else str(code), "message": str(message), "param": None}
        yield self._numbered({"type": "error", **told, "error": error})

    def _begin(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        request = self._asked.request
        base = str(chunk.get("id") or self._asked.fallback).removeprefix("chatcmpl-")
        self._output = Output(base)
        self.response = {
            "id": f"resp_{base}",
            "object": "response",
            "created_at": chunk.get("created") or 0,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": chunk.get("model") or request.get("model"),
            "output": [],
            "store": False,
            "usage": None,
            **{name: default if request.get(name) is None else request[name] for name, default in ECHOED.items()},
        }
        begun = dict(self.response)
        yield self._numbered({"type": "response.created", "response": begun})
        yield self._numbered({"type": "response.in_progress", "response": begun})

    def _note(self, chunk: Mapping[str, Any]) -> None:
        """Keep what a chunk says of the whole answer."""
        if chunk.get("usage") is not None:
            self.response["usage"] = usage(chunk["usage"])
        self._keep(chunk, _CHUNK, "")

    def _keep(self, told: Mapping[str, Any], known: frozenset[str], at: str) -> None:
        """Take over what nobody knows, as fields of the response: timings, a fingerprint, what stopped the choice."""
        for name, value in told.items():
            if name in known or value is None:
                continue
            if name in _OWN:
                self._lose(at + name)
            else:
                self.response[name] = value

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        said = choice.get("delta", choice.get("message"))
        self._keep(choice, _CHOICE, "choices[].")
        self._look_for_losses(said)
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            scored = logprobs.get("content") or []
            if not isinstance(scored, list):
                raise AnswerNotEditable("the logprobs of the model server's answer have no list of tokens")
            self._output.score(scored)
            if logprobs.get("refusal"):
                self._lose("choices[].logprobs.refusal")
        if isinstance(said, dict):
            yield from self._said(said)
        if choice.get("finish_reason") is not None:
            self._reason = str(choice["finish_reason"])

    def _said(self, said: Mapping[str, Any]) -> Iterator[Event]:
        reasoning, also = said.get("reasoning_content"), said.get("reasoning")
        if reasoning and also and reasoning != also:
            self._lose("choices[].message.reasoning")
        reasoning = reasoning or also
        for kind, text in ((REASONING, reasoning), (CONTENT, said.get("content")), (REFUSAL, said.get("refusal"))):
            if isinstance(text, str) and text:
                yield from self._output.say(kind, text)
            elif text:
                raise AnswerNotEditable(f"a {kind.item} of the model server's answer is not text")
        calls = said.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            yield from self._call(call, place)

    def _call(self, piece: Any, place: int) -> Iterator[Event]:
        """Add a piece of a tool call: its first has the ID and the name, the others parts of the arguments."""
        function = piece.get("function") if isinstance(piece, dict) else None
        if not isinstance(function, dict):
            raise AnswerNotEditable("the model server called a tool that is not a function")
        index, call_id, name = piece.get("index", place), piece.get("id"), function.get("name")
        if type(index) is not int or not isinstance(call_id, str | None) or not isinstance(name, str | None):
            raise AnswerNotEditable("a tool call of the model server has an index, an ID or a name of another type")
        number, call = self._numbered_call(index, call_id, name)
        call.id, call.name = call.id or call_id, call.name or name
        arguments = function.get("arguments")
        if arguments is not None:  # some servers give the object itself
            call.waiting += arguments if isinstance(arguments, str) else encode(arguments).decode()
        if not call.name or (call.begun and not call.waiting):
            return
        if not call.begun or not self._output.is_calling(number):
            call.begun = True
            yield from self._output.call(number, call.id, call.name)
        waiting, call.waiting = call.waiting, ""
        yield from self._output.argue(waiting)

    def _numbered_call(self, index: int, call_id: str | None, name: str | None) -> tuple[int, _Call]:
        """Return the call that a piece belongs to. Some servers give every call the same index, or none."""
        number = self._numbers.get(index)
        if number is not None:
            known = self._calls[number]
            if not (name and known.name and call_id and known.id != call_id):
                return number, known
        number = self._numbers[index] = len(self._calls)
        call = self._calls[number] = _Call()
        return number, call

    def _look_for_losses(self, said: Any) -> None:
        for name, value in said.items() if isinstance(said, dict) else ():
            if name not in _SAID and says_something(value):
                if name in _MEANT:
                    raise AnswerNotEditable(f"the model server's answer has '{name}', which a response cannot hold")
                self._lose(f"choices[].message.{name}")

    def _failed(self, message: str) -> Iterator[Event]:
        if not self.response:
            yield from self._begin({})
        error = {"code": "server_error", "message": message}
        self.response |= {"status": "failed", "error": error, "output": self._output.broken()}
        yield self._numbered({"type": "response.failed", "response": self.response})

    def _numbered(self, event: Event) -> Event:
        self._events += 1
        return {"type": event["type"], "sequence_number": self._events - 1, **event}

    def _lose(self, field: str) -> None:
        if field not in self.lost:
            self.lost.append(field)


class _Call:
    """A tool call whose pieces arrive."""

    __slots__ = ("begun", "id", "name", "waiting")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.waiting = ""
        self.begun = False


def usage(counted: Any) -> Any:
    """Return a chat's usage in the names of a response. Details that a chat leaves out are 0: the format wants them."""
    if not isinstance(counted, dict):
        return None
    prompt, completion = (counted.get(f"{side}_tokens_details") for side in ("prompt", "completion"))
    known = ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
    given, made = (_count(counted.get(f"{side}_tokens")) for side in ("prompt", "completion"))
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 0, **_told(prompt)},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0, **_told(completion)},
        "total_tokens": counted.get("total_tokens", given + made),
        **{name: value for name, value in counted.items() if name not in known},
    }


def _told(details: Any) -> dict[str, Any]:
    return {name: value for name, value in details.items() if value is not None} if isinstance(details, dict) else {}


def _count(value: Any) -> int:
    return value if type(value) is int else 0


def response(asked: Asked, answer: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a plain answer of a chat as a response, and the fields that it has no place for.

    Raises:
        AnswerNotEditable: it holds what no response can.
    """
    made = Answer(asked)
    for _ in made.take(answer):
        pass
    for _ in made.end():
        pass
    return made.response, made.lost
