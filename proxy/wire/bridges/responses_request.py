"""A request to /v1/responses as one to /v1/chat/completions.

Format: https://platform.openai.com/docs/api-reference/responses/create. A field that is not named here means the same
on both routes, or is the server's own, and goes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy.wire.bridges.losses import Converted, Losses, says_something
from proxy.wire.bridges.responses_items import Messages
from proxy.wire.bridges.responses_tools import chat_tool_choice, chat_tools, text_options

NAME = "responses_to_chat"

CONVERTED = (
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "reasoning",
    "stream_options",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
)
"""Fields that a chat has in another form."""

LEFT_OUT = ("include", "max_tool_calls", "metadata", "reasoning.generate_summary", "reasoning.summary", "store")
"""What does not change the answer and has no place in a chat. Of `include` it is what is not logprobs."""

REFUSED = ("background", "context_management", "conversation", "previous_response_id", "prompt", "truncation")
"""What only a server that keeps responses can do, or what would change the answer."""

FOREIGN = (
    "audio",
    "function_call",
    "functions",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "modalities",
    "n",
    "reasoning_effort",
    "response_format",
    "verbosity",
)
"""Fields of a chat that /v1/responses does not have: their place is taken, or the answer could not be given back."""

_LOGPROBS = "message.output_text.logprobs"
_WAY_OUT = "send the request without, or ask a model server that has /v1/responses"


class Options(NamedTuple):
    """What chats differ in."""

    max_tokens_field: str = "max_tokens"
    developer_role: str = "system"
    reasoning_field: str = "reasoning_content"


_USUAL = Options()


def chat_request(request: Mapping[str, Any], options: Options = _USUAL, *, strict: bool = False) -> Converted:
    """Return the request as a chat.

    Raises:
        NotCarried: something that would change the answer has no place in it; with `strict`, anything has none.
    """
    losses = Losses(NAME, _WAY_OUT, strict=strict)
    for name in FOREIGN:
        if says_something(request.get(name)):
            losses.refuse(name, "it is a field of a chat")
    for name in REFUSED:
        value = request.get(name)
        if says_something(value) and (name, value) != ("truncation", "disabled"):
            losses.refuse(name)
    messages = Messages(options.developer_role, options.reasoning_field, losses)
    messages.instruct(request.get("instructions"))
    messages.take(request.get("input"))
    known = {*CONVERTED, *LEFT_OUT, *REFUSED, *FOREIGN}
    chat = {name: value for name, value in request.items() if name not in known}
    chat["messages"] = messages.all
    _add_tools(chat, request, losses)
    if request.get("text") is not None:
        chat |= text_options(request["text"], losses)
    _add_reasoning(chat, request.get("reasoning"), losses)
    _add_logprobs(chat, request, losses)
    if request.get("max_output_tokens") is not None:
        chat[options.max_tokens_field] = request["max_output_tokens"]
    if request.get("stream") is True:  # the last event tells the usage
        stream_options = request.get("stream_options")
        chat["stream_options"] = {**(stream_options if isinstance(stream_options, dict) else {}), "include_usage": True}
    for name in ("max_tool_calls", "metadata", "store"):
        losses.leave(name, request.get(name))
    return losses.converted(chat)


def _add_tools(chat: dict[str, Any], request: Mapping[str, Any], losses: Losses) -> None:
    if request.get("tools") is not None:
        chat["tools"] = chat_tools(request["tools"], losses)
        if not chat["tools"]:
            del chat["tools"]  # servers refuse an empty list
    choice = chat_tool_choice(request.get("tool_choice"), losses)
    if choice is not None and ("tools" in chat or choice not in ("auto", "none")):
        chat["tool_choice"] = choice


def _add_reasoning(chat: dict[str, Any], reasoning: Any, losses: Losses) -> None:
    if reasoning is None:
        return
    if not isinstance(reasoning, dict):
        losses.refuse("reasoning", "it has to be an object")
        return
    for name, value in reasoning.items():
        if name == "effort":
            if value is not None:
                chat["reasoning_effort"] = value
        elif f"reasoning.{name}" in LEFT_OUT:
            losses.leave(f"reasoning.{name}", value)
        elif says_something(value):
            losses.refuse(f"reasoning.{name}")


def _add_logprobs(chat: dict[str, Any], request: Mapping[str, Any], losses: Losses) -> None:
    include = request.get("include")
    wanted = include if isinstance(include, list) else []
    if include is not None and not isinstance(include, list):
        losses.refuse("include", "it has to be a list")
    losses.leave("include", [name for name in wanted if name != _LOGPROBS])
    top = request.get("top_logprobs")
    if _LOGPROBS in wanted or (type(top) is int and top > 0):
        chat["logprobs"] = True
        if top is not None:
            chat["top_logprobs"] = top
