"""Choices of a chat as those of a completion, and back: whole answers and the chunks of streams.

Formats: https://platform.openai.com/docs/api-reference/chat/object and /completions/object. A field that is not named
here goes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.core.errors import AnswerNotEditable
from proxy.wire.bridges import logprobs
from proxy.wire.bridges.event_bridge import data_event
from proxy.wire.bridges.losses import says_something

_CHAT_ID = "chatcmpl-"
_COMPLETION_ID = "cmpl-"
_REASONING = ("reasoning_content", "reasoning")
_SAID = frozenset({"role", "content", *_REASONING})
_MEANT = frozenset({"audio", "function_call", "refusal", "tool_calls"})
"""What of a message cannot be left out."""


def choices_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the choices of an answer or a chunk; raises AnswerNotEditable where it has no list of them."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise AnswerNotEditable("an answer of the model server has no list of choices")
    if not all(type(choice.get("index", 0)) is int for choice in choices):
        raise AnswerNotEditable("the index of a choice of the model server's answer is no number")
    return choices


class ChatOfCompletion:
    """Makes a chat's answer of a completion's.

    Args:
        top_logprobs: alternatives that the client asked for.
    """

    def __init__(self, top_logprobs: int = 0) -> None:
        self.lost: list[str] = []
        self._top = top_logprobs
        self._begun: set[Any] = set()

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return a plain answer; raises AnswerNotEditable where it cannot be one."""
        return self._answer(answer, "chat.completion", "message")

    def event(self, document: dict[str, Any]) -> bytes:
        """Return what comes in place of one chunk; the model server's errors have the same form on both routes."""
        if document.get("error") is not None:
            return data_event(document)
        return data_event(self._answer(document, "chat.completion.chunk", "delta"))

    def end(self, done: bytes) -> bytes:
        """Return `[DONE]` where there is one."""
        return done

    def _answer(self, answer: Mapping[str, Any], kind: str, holder: str) -> dict[str, Any]:
        choices = [self._choice(choice, holder) for choice in choices_of(answer)]
        return {**answer, "id": _renamed(answer, _COMPLETION_ID, _CHAT_ID), "object": kind, "choices": choices}

    def _choice(self, choice: Mapping[str, Any], holder: str) -> dict[str, Any]:
        text, index = choice.get("text"), choice.get("index")
        if not isinstance(text, str):
            raise AnswerNotEditable("a choice of the model server's completion has no text")
        said: dict[str, Any] = {"content": text} if text or holder == "message" else {}
        if index not in self._begun:
            said = {"role": "assistant", "content": "", **said}
        self._begun.add(index)
        said |= {name: choice[name] for name in _REASONING if name in choice}
        scored = choice.get("logprobs")
        made = {name: value for name, value in choice.items() if name not in {"text", *_REASONING}}
        return {
            **made,
            holder: said,
            "logprobs": logprobs.as_chat(scored, self._top) if isinstance(scored, dict) else None,
        }


class CompletionOfChat:
    """Makes a completion's answer of a chat's."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self._offsets: dict[Any, int] = {}

    def whole(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return a plain answer; raises AnswerNotEditable where it cannot be one."""
        return self._answer(answer, "message")

    def event(self, document: dict[str, Any]) -> bytes:
        """Return what comes in place of one chunk; the model server's errors have the same form on both routes."""
        if document.get("error") is not None:
            return data_event(document)
        return data_event(self._answer(document, "delta"))

    def end(self, done: bytes) -> bytes:
        """Return `[DONE]` where there is one."""
        return done

    def _answer(self, answer: Mapping[str, Any], holder: str) -> dict[str, Any]:
        choices = [self._choice(choice, holder) for choice in choices_of(answer)]
        named = {"id": _renamed(answer, _CHAT_ID, _COMPLETION_ID), "object": "text_completion"}
        return {**answer, **named, "choices": choices}

    def _choice(self, choice: Mapping[str, Any], holder: str) -> dict[str, Any]:
        said, index = choice.get(holder), choice.get("index")
        if not isinstance(said, dict) or not isinstance(said.get("content", ""), str | None):
            raise AnswerNotEditable(f"a choice of the model server's chat has no {holder} with a text")
        self._look_for_losses(said)
        text = said.get("content") or ""
        scored, offset = choice.get("logprobs"), self._offsets.get(index, 0)
        self._offsets[index] = offset + len(text)
        made = {name: value for name, value in choice.items() if name != holder}
        return {
            **made,
            "text": text,
            **{name: said[name] for name in _REASONING if says_something(said.get(name))},
            "logprobs": logprobs.as_completion(scored, offset) if isinstance(scored, dict) else None,
        }

    def _look_for_losses(self, said: Mapping[str, Any]) -> None:
        for name, value in said.items():
            if name in _SAID or not says_something(value):
                continue
            if name in _MEANT:
                raise AnswerNotEditable(f"the model server's chat has '{name}', which a completion cannot hold")
            field = f"choices[].message.{name}"
            if field not in self.lost:
                self.lost.append(field)


def _renamed(answer: Mapping[str, Any], old: str, new: str) -> str:
    """Return the answer's ID with the prefix that it has on the other route."""
    return new + str(answer.get("id") or "").removeprefix(old)
