"""reasoning: what a model thought before its answer, moved out of the text, or back into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import Field, PositiveInt, field_validator, model_validator

from proxy.core.http import Exchange, Response
from proxy.core.nearest import did_you_mean
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.answers import edit_answer
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple
from proxy.interceptors.reasoning_tracking import ReasoningTracking
from proxy.wire import routes
from proxy.wire.reasoning import Splitter, Tokens

_TEXT_ROUTES = frozenset({routes.CHAT, routes.COMPLETIONS})
_FIELD = "reasoning_content"
_OTHER_FIELD = "reasoning"
"""What newer servers call it."""


class ReasoningConfig(TransformConfig):
    """Which text is reasoning, and where it goes."""

    routes: frozenset[str] = Field(_TEXT_ROUTES, description="routes it acts on: only these two have it in the text")
    start_reasoning_token: str | None = Field(
        "<think>", min_length=1, description="what reasoning begins with; null where the template puts it in the prompt"
    )
    end_reasoning_token: str = Field("</think>", min_length=1, description="what reasoning ends with")
    add_reasoning: bool | None = Field(
        None, description="true moves reasoning to `reasoning_content`, false leaves it; null is true without migration"
    )
    migrate_reasoning_content: bool = Field(
        False, description="the reverse: put `reasoning_content` in front of the text, between the tokens"
    )
    include_if_not_finished: bool = Field(
        True, description="leave reasoning without an end in the text; false moves it, and the text is empty"
    )
    discard_reasoning: bool = Field(
        False,
        description="leave reasoning out of the answer instead of moving it, as in the reference's first generation",
    )
    require_start_token: bool = Field(
        False, description="only a text that begins with the start token has reasoning; other streams are not held back"
    )
    enable_reasoning_tracking: bool = Field(True, description="count reasoning and its words in the statistics")
    logging_aggregated_stats_interval: PositiveInt = Field(
        100, description="answers between two events 'Reasoning' on the console, for each worker process"
    )

    unneeded: ClassVar[Mapping[str, str]] = {
        "cache_dir": "statistics are in the store",
        "enable_caching": "statistics are in the store",
        "stats_file_saving_interval": "statistics are in the store",
    }

    @field_validator("routes")
    @classmethod
    def _have_text(cls, value: frozenset[str]) -> frozenset[str]:
        for route in sorted(value - _TEXT_ROUTES):
            raise ValueError(f"it has no meaning on '{route}'{did_you_mean(route, _TEXT_ROUTES)}")
        return value

    @model_validator(mode="after")
    def _is_possible(self) -> ReasoningConfig:
        if self.migrate_reasoning_content and self.add_reasoning:
            raise ValueError("'add_reasoning' and 'migrate_reasoning_content' are opposites; set one of them")
        if self.discard_reasoning and (self.add_reasoning is False or self.migrate_reasoning_content):
            raise ValueError("'discard_reasoning' is about reasoning that is moved; nothing is, with these options")
        if self.start_reasoning_token is None and (self.migrate_reasoning_content or self.require_start_token):
            raise ValueError("without a 'start_reasoning_token' there is none to look for, or to put in front")
        return self

    @property
    def tokens(self) -> Tokens:
        """What the text is taken apart by."""
        return Tokens(
            self.start_reasoning_token,
            self.end_reasoning_token,
            require_start=self.require_start_token,
            keep_unfinished=self.include_if_not_finished,
        )


class Reasoning:
    """Changes each choice of an answer, from the cache or not."""

    def __init__(self, config: ReasoningConfig, services: Services) -> None:
        self._config = config
        self._moves_out = config.add_reasoning is not False and not config.migrate_reasoning_content
        tracking = ReasoningTracking(
            services.log, config.start_reasoning_token, config.logging_aggregated_stats_interval
        )
        counts = config.enable_reasoning_tracking and self._moves_out and not config.discard_reasoning
        self._tracking = tracking if counts else None

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        response = await call_next(exchange)
        field = "text" if exchange.route == routes.COMPLETIONS else "content"
        if self._moves_out:
            edit_answer(
                response,
                name="reasoning",
                whole=lambda answer: _MoveOut(self._config, field).whole(answer),
                events=lambda: _MoveOut(self._config, field),
            )
        elif self._config.migrate_reasoning_content:
            start, end = self._config.start_reasoning_token or "", self._config.end_reasoning_token
            edit_answer(
                response,
                name="reasoning",
                whole=lambda answer: _MoveIn(start, end, field).whole(answer),
                events=lambda: _MoveIn(start, end, field),
            )
        if self._tracking is not None:
            self._tracking.follow(exchange, response)
        return response


class _MoveOut:
    """Takes the text of each choice apart."""

    def __init__(self, config: ReasoningConfig, field: str) -> None:
        self._tokens = config.tokens
        self._discards = config.discard_reasoning
        self._field = field
        self._splitters: dict[int, Splitter] = {}
        self._last: Mapping[str, Any] = {}

    def whole(self, answer: dict[str, Any]) -> None:
        """Change a plain answer."""
        for _, choice in _choices(answer):
            holder = _holder(choice, self._field, "message")
            text = holder.get(self._field) if holder is not None else None
            if holder is None or not isinstance(text, str):
                continue
            splitter = Splitter(self._tokens)
            parts, rest = splitter.feed(text), splitter.finish()
            _rename(holder)
            self._put(holder, parts.reasoning + rest.reasoning, parts.content + rest.content)

    def edit(self, document: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """Change one chunk of a stream."""
        self._last = document
        for index, choice in _choices(document):
            holder = _holder(choice, self._field, "delta")
            if holder is None:
                continue
            _rename(holder)
            text = holder.get(self._field)
            splitter = self._splitters.setdefault(index, Splitter(self._tokens))
            reasoning, content = splitter.feed(text) if isinstance(text, str) else ("", "")
            if choice.get("finish_reason") is not None:
                rest = splitter.finish()
                reasoning, content = reasoning + rest.reasoning, content + rest.content
            if isinstance(text, str) or reasoning or content:
                self._put(holder, reasoning, content)
        return [document]

    def end(self) -> Iterable[dict[str, Any]]:
        """Return what choices still held that never finished."""
        for index, splitter in self._splitters.items():
            reasoning, content = splitter.finish()
            if reasoning or content:
                holder: dict[str, Any] = {}
                self._put(holder, reasoning, content)
                choice = {"delta": holder} if self._field == "content" else holder
                last = {name: value for name, value in self._last.items() if name != "usage"}  # it was told already
                yield {**last, "choices": [{"index": index, **choice, "finish_reason": None}]}

    def _put(self, holder: dict[str, Any], reasoning: str, content: str) -> None:
        holder[self._field] = content
        if reasoning and not self._discards:
            holder[_FIELD] = (holder.get(_FIELD) or "") + reasoning


class _MoveIn:
    """Puts `reasoning_content` in front of the text of each choice; the field itself stays."""

    def __init__(self, start: str, end: str, field: str) -> None:
        self._start = start
        self._end = end
        self._field = field
        self._open: set[int] = set()

    def whole(self, answer: dict[str, Any]) -> None:
        """Change a plain answer."""
        for _, choice in _choices(answer):
            holder = _holder(choice, self._field, "message")
            reasoning = _reasoning(holder)
            if holder is not None and reasoning:
                text = holder.get(self._field)
                holder[self._field] = self._start + reasoning + self._end + (text if isinstance(text, str) else "")

    def edit(self, document: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """Change one chunk of a stream."""
        for index, choice in _choices(document):
            holder = _holder(choice, self._field, "delta")
            if holder is None:
                continue
            text, added = holder.get(self._field), ""
            reasoning = _reasoning(holder)
            if reasoning:
                added = reasoning if index in self._open else self._start + reasoning
                self._open.add(index)
            ends = (isinstance(text, str) and text != "") or choice.get("finish_reason") is not None
            if index in self._open and ends:
                self._open.discard(index)
                added += self._end
            if added:
                holder[self._field] = added + (text if isinstance(text, str) else "")
        return [document]

    def end(self) -> Iterable[dict[str, Any]]:
        """Hold nothing back."""
        return []


def _choices(document: Mapping[str, Any]) -> Iterable[tuple[int, dict[str, Any]]]:
    choices = document.get("choices")
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict):
            index = choice.get("index")
            yield index if isinstance(index, int) else position, choice


def _holder(choice: dict[str, Any], field: str, message: str) -> dict[str, Any] | None:
    """Return the object with the text: a completion's choice, a chat's message or delta."""
    holder = choice if field == "text" else choice.get(message)
    return holder if isinstance(holder, dict) else None


def _reasoning(holder: Mapping[str, Any] | None) -> str:
    """Return the reasoning that the server told apart itself."""
    for name in (_FIELD, _OTHER_FIELD):
        value = holder.get(name) if holder is not None else None
        if isinstance(value, str) and value:
            return value
    return ""


def _rename(holder: dict[str, Any]) -> None:
    if isinstance(holder.get(_OTHER_FIELD), str) and holder.get(_FIELD) is None:
        holder[_FIELD] = holder.pop(_OTHER_FIELD)


# Behind the bridge that makes a chat of a response, so that it sees the text of that chat.
PLUGIN = Plugin(ReasoningConfig, Layer.TRANSFORM, simple(Reasoning), rank=925)
