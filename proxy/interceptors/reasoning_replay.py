"""reasoning_replay: gives the model its own earlier reasoning back, where a client does not send it along."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import orjson
from pydantic import Field, PositiveInt

from proxy.core.document import parse
from proxy.core.http import Exchange, Payload, Response
from proxy.core.pipeline import Layer, Next
from proxy.core.stream import Outcome
from proxy.interceptors.answered import Answered
from proxy.interceptors.base import Plugin, Services, StrictConfig, simple
from proxy.wire import fold, routes
from proxy.wire.conversation import messages_of

console = logging.getLogger("evalside.exchanges")

_KIND = "reasoning"
_FIELDS = ("reasoning_content", "reasoning")
_SYSTEM_ROLES = ("system", "developer")
_AMBIGUOUS = ""
"""In place of reasoning where an answer that reads the same came with another: nobody can tell which it is."""
_UNREASONED = "\0"
"""The same where an answer came without any."""


class ReasoningReplayConfig(StrictConfig):
    """How the model gets it."""

    mode: Literal["think_tags", "native", "both"] = Field(
        "think_tags", description="in front of the text, in `reasoning` and `reasoning_content`, or both"
    )
    tag_open: str = Field("<think>", min_length=1, description="in front of the reasoning in the text")
    tag_close: str = Field("</think>", min_length=1, description="behind it")
    cache_max_entries: PositiveInt = Field(10_000, description="answers of a run whose reasoning is remembered")
    log_misses: bool = Field(
        False, description="an event 'Reasoning unknown' where an earlier answer is not remembered"
    )


class ReasoningReplay:
    """Remembers the reasoning of every answer in a chat, for the run it belongs to.

    An answer is known by what the client had said until then, with its tool calls or its text: some servers count the
    IDs of tool calls in each conversation from 0, and a short text is said in many. Where several samples of one turn
    read the same and were reasoned differently, none gets any back, and that is counted.
    """

    def __init__(self, config: ReasoningReplayConfig, services: Services) -> None:
        self._config = config
        self._memory = services.memory
        self._log = services.log
        self._unwritten = False

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        if exchange.route != routes.CHAT:
            return await call_next(exchange)
        body = exchange.request.body
        for index, (message, before) in enumerate(_placed(body.json, exchange.received)):
            reasoning = self._recalled(exchange.run, message, before)
            if reasoning is None:
                self._miss(exchange, message)
            elif reasoning == _AMBIGUOUS:
                self._log.observe(exchange.run, {"reasoning_ambiguous": 1})
                self._miss(exchange, message)
            else:
                self._give_back(list(_assistant(body.edit()))[index], reasoning)
        response = await call_next(exchange)

        def remember(answer: Answered, outcome: Outcome) -> None:
            if outcome is Outcome.COMPLETE and answer.status == 200:
                for message in _messages(answer):
                    self._remember(exchange, message)

        response.tap(Answered(response, remember))
        if isinstance(response.body, Payload):
            await self._written()  # before the client has it: its next turn may be another worker's
        return response

    async def _written(self) -> None:
        if self._unwritten:
            self._unwritten = False
            await self._log.flush()

    def _recalled(self, run: str | None, message: Mapping[str, Any], before: str) -> str | None:
        recalled = (self._memory.recall(run, _KIND, f"{before}:{key}") for key in _keys(message))
        found = {reasoning for reasoning in recalled if reasoning is not None}
        if not found or found == {_UNREASONED}:
            return None
        return found.pop() if len(found) == 1 else _AMBIGUOUS

    def _miss(self, exchange: Exchange, message: Mapping[str, Any]) -> None:
        if self._config.log_misses and not _reasoning(message):
            console.info("Reasoning unknown", extra={"exchange": exchange.id, "run": exchange.run})

    def _remember(self, exchange: Exchange, message: Mapping[str, Any]) -> None:
        reasoning = _reasoning(message) or _UNREASONED
        before, keep = _conversation(exchange.received)[-1], self._config.cache_max_entries
        for key in _keys(message):
            at = f"{before}:{key}"
            same = self._memory.recall(exchange.run, _KIND, at) in {None, reasoning}
            self._memory.remember(exchange.run, _KIND, at, reasoning if same else _AMBIGUOUS, keep=keep)
            self._unwritten = True

    def _give_back(self, message: dict[str, Any], reasoning: str) -> None:
        config = self._config
        if config.mode != "think_tags" and not _reasoning(message):
            message.update(dict.fromkeys(_FIELDS, reasoning))
        text = message.get("content")
        if config.mode != "native" and (text is None or isinstance(text, str)):
            text = text or ""
            if not text.startswith(config.tag_open):
                message["content"] = f"{config.tag_open}{reasoning}{config.tag_close}\n{text}"


def _assistant(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    messages = document.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            yield message


def _placed(document: Mapping[str, Any], received: bytes) -> list[tuple[dict[str, Any], str]]:
    """Return each answer among the messages, with what the client had said before it; none where one is another's."""
    answers = list(_assistant(document))
    before = _conversation(received)[:-1] if answers else []
    return list(zip(answers, before, strict=True)) if len(answers) == len(before) else []


def _conversation(received: bytes) -> list[str]:
    """Return a hash of what the client had said before each answer in its request, and of all of it.

    Only as it came, also where a bridge made a chat of it: other interceptors may tell the model in each turn
    something new. System messages do not count, which some clients write anew.
    """
    digest, found = hashlib.sha256(), []
    for message in messages_of(parse(received).value):
        role = message.get("role") if isinstance(message, dict) else None
        if role == "assistant":
            found.append(digest.hexdigest()[:32])
            digest.update(b"answer")
        elif isinstance(message, dict) and role not in _SYSTEM_ROLES:
            digest.update(json.dumps([role, message.get("content"), message.get("tool_call_id")]).encode())
    return [*found, digest.hexdigest()[:32]]


def _messages(answer: Answered) -> Iterator[dict[str, Any]]:
    """Return the messages of a complete answer; a stream that cannot be put together has none."""
    try:
        document = fold.read(routes.CHAT, answer.body) if answer.streamed else orjson.loads(answer.body)
    except ValueError:
        return
    choices = document.get("choices") if isinstance(document, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
            yield choice["message"]


def _reasoning(message: Mapping[str, Any]) -> str:
    return next((message[name] for name in _FIELDS if isinstance(message.get(name), str)), "")


def _keys(message: Mapping[str, Any]) -> list[str]:
    """Return what a message is known by: the IDs of its tool calls, else its text."""
    calls = message.get("tool_calls")
    ids = [call.get("id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if ids:
        return [f"call:{identity}" for identity in ids if isinstance(identity, str) and identity]
    text = message.get("content")
    return (
        ["text:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()] if isinstance(text, str) else []
    )


# Behind the bridge that makes a chat of a response, and before what takes reasoning out of the text.
PLUGIN = Plugin(ReasoningReplayConfig, Layer.TRANSFORM, simple(ReasoningReplay), rank=924)
