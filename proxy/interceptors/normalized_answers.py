"""What normalize changes in answers: only where the dialect says that they differ, or an option asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from proxy.core.difference import snapshot
from proxy.core.errors import RequestError
from proxy.core.http import Exchange, Payload, Response
from proxy.dialects.model import Dialect
from proxy.interceptors.answers import edit_answer, is_events, map_events, readable_body
from proxy.interceptors.undeclared import Untouched
from proxy.wire import routes
from proxy.wire.done import AddDone
from proxy.wire.error_bodies import Shape, reshape
from proxy.wire.fold import CHUNKED
from proxy.wire.legacy_logprobs import LegacyLogprobs

_REASONING = ("reasoning", "reasoning_content")

Change = Callable[[dict[str, Any]], None]
"""Changes a plain answer, or one event of a stream, in place."""


class AnswerOptions(NamedTuple):
    """What is changed because an option says so."""

    reasoning_field: str | None = None
    fill_null_content: bool = False
    reshape_errors: bool = True
    """False under `strict`: the error is all that the client gets, so it is left as it is and not refused."""


class _Edit(NamedTuple):
    make: Callable[[], Change]
    """Called for each answer."""
    fields: tuple[str, ...]
    why: str


def normalize_answer(
    exchange: Exchange, response: Response, dialect: Dialect, options: AnswerOptions, *, name: str
) -> None:
    """Change an answer, or have its events changed as they come. `name` is the interceptor's."""
    said = dialect.answers
    if response.status >= 400:
        if said.errors is not None and options.reshape_errors:
            _reshape_error(exchange, response, said.errors, dialect.name)
        return
    for edit in _edits(exchange.route, dialect, options):
        _apply(exchange, response, edit, name)
    if exchange.route in CHUNKED and said.done == "missing" and _may_be_events(response):
        why = f"{dialect.name} ends its streams without"
        map_events(response, lambda: AddDone(why), Untouched, name=name)


def _may_be_events(response: Response) -> bool:
    return not isinstance(response.body, Payload) or is_events(response)


def _edits(route: str | None, dialect: Dialect, options: AnswerOptions) -> Iterator[_Edit]:
    if route == routes.COMPLETIONS and dialect.answers.completions_logprobs == "chat":
        fields = tuple(
            f"choices[].logprobs{part}"
            for part in ("", ".content", ".tokens", ".token_logprobs", ".top_logprobs", ".text_offset")
        )
        yield _Edit(_legacy_logprobs, fields, f"{dialect.name} gives them the shape of a chat's")
    if route == routes.CHAT and options.reasoning_field is not None:
        wanted = options.reasoning_field
        other = next(name for name in _REASONING if name != wanted)
        fields = tuple(f"choices[].{holder}.{name}" for holder in ("message", "delta") for name in _REASONING)
        yield _Edit(lambda: lambda document: _rename(document, other, wanted), fields, "reasoning_field")
    if route == routes.CHAT and options.fill_null_content:
        fields = ("choices[].message.content", "choices[].delta.content")
        yield _Edit(lambda: _fill_content, fields, "fill_null_content")


def _apply(exchange: Exchange, response: Response, edit: _Edit, name: str) -> None:
    if isinstance(response.body, Payload) and not is_events(response):
        try:
            document = readable_body(response).json
        except RequestError:  # no JSON object: nothing of it is known
            return
        tried = snapshot(document)
        edit.make()(tried)
        if tried == document:  # its bytes stay as they are
            return
    for field in edit.fields:
        exchange.ledger.explain(field, edit.why)
    edit_answer(response, name=name, whole=edit.make(), events=lambda: _Each(edit.make()), why=edit.why)


class _Each:
    """Changes every event of one stream."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def edit(self, document: dict[str, Any]) -> Iterable[dict[str, Any]]:
        self._change(document)
        return [document]

    def end(self) -> Iterable[dict[str, Any]]:
        return []


def _legacy_logprobs() -> Change:
    reshaped = LegacyLogprobs()

    def change(document: dict[str, Any]) -> None:
        for position, choice in enumerate(_choices(document)):
            index = choice.get("index")
            reshaped.reshape(choice, index if type(index) is int else position)

    return change


def _rename(document: dict[str, Any], old: str, new: str) -> None:
    for message in _messages(document):
        if isinstance(message.get(old), str) and message.get(new) is None:
            message[new] = message.pop(old)


def _fill_content(document: dict[str, Any]) -> None:
    for message in _messages(document):
        calls = message.get("tool_calls") or message.get("function_call")
        if "content" in message and message["content"] is None and not calls:
            message["content"] = ""


def _choices(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    listed = document.get("choices")
    return (choice for choice in (listed if isinstance(listed, list) else ()) if isinstance(choice, dict))


def _messages(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    said = (choice.get("message", choice.get("delta")) for choice in _choices(document))
    return (message for message in said if isinstance(message, dict))


def _reshape_error(exchange: Exchange, response: Response, shape: Shape, server: str) -> None:
    if not isinstance(response.body, Payload):
        return
    try:
        body = readable_body(response)
        if not reshape(snapshot(body.json), shape, response.status):
            return
        document = body.edit()
    except RequestError:  # no JSON object, or none that could be written again: it stays as it is
        return
    for field in ("detail", "error", "error_type", "object", "message", "type", "param", "code"):
        exchange.ledger.explain(field, f"{server} has errors of its own shape")
    reshape(document, shape, response.status)
