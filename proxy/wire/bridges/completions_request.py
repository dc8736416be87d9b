"""A request to /v1/chat/completions as one to /v1/completions, by a chat template.

Formats: https://platform.openai.com/docs/api-reference/chat/create and /completions/create. A field that is not named
here means the same on both routes, or is the server's own, and goes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.core.document import parse
from proxy.wire.bridges.losses import Converted, Losses, says_something
from proxy.wire.bridges.template import Template, TemplateFailed

NAME = "chat_to_completions"

CONVERTED = (
    "add_generation_prompt",
    "chat_template_kwargs",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "tools",
    "top_logprobs",
)
"""Fields that a completion has in another form, or that the template takes."""

LEFT_OUT = ("metadata", "parallel_tool_calls", "store")
"""What does not change the answer and has no place in a completion. `parallel_tool_calls` is refused beside tools."""

REFUSED = (
    "audio",
    "chat_template",
    "continue_final_message",
    "documents",
    "function_call",
    "functions",
    "modalities",
    "prediction",
    "reasoning_effort",
    "response_format",
    "tool_choice",
    "verbosity",
    "web_search_options",
)
"""What would change the answer. A field that asks for what holds anyway (`tool_choice: auto`) is left out."""

FOREIGN = ("best_of", "echo", "prompt", "suffix")
"""Fields of a completion that a chat does not have: their place is taken, or the answer could not be given back."""

_AS_IT_IS: Mapping[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "tool_choice": ("auto", "none"),
    "function_call": ("auto", "none"),
}
_WAY_OUT = "send the request without, or ask a model server that has /v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Options:
    """How a chat becomes a prompt."""

    template: Template
    tokens: Mapping[str, str] = field(default_factory=dict)
    """`bos_token` and `eos_token`."""
    default_max_tokens: int | None = None
    render_tools: bool = False


def completions_request(request: Mapping[str, Any], options: Options, *, strict: bool = False) -> Converted:
    """Return the request as a completion.

    Raises:
        NotCarried: something that would change the answer has no place in it; with `strict`, anything has none.
    """
    losses = Losses(NAME, _WAY_OUT, strict=strict)
    for name in FOREIGN:
        if says_something(request.get(name)):
            losses.refuse(name, "it is a field of a completion")
    for name in REFUSED:
        if says_something(request.get(name)) and request[name] not in _AS_IT_IS.get(name, ()):
            losses.refuse(name)
    tools = request.get("tools") if says_something(request.get("tools")) else None
    if tools is not None and not options.render_tools:
        losses.refuse("tools", "the model's calls would be text; 'render_tools: true' shows it the tools all the same")
    for name in LEFT_OUT:
        if name == "parallel_tool_calls" and tools is not None and request.get(name) is False:
            losses.refuse(name)
        losses.leave(name, request.get(name))
    known = {*CONVERTED, *LEFT_OUT, *REFUSED, *FOREIGN}
    made = {name: value for name, value in request.items() if name not in known}
    made["prompt"] = _prompt(request, tools, options, losses)
    _add_limit(made, request, options.default_max_tokens, losses)
    if top_logprobs(request) and not request.get("logprobs"):
        losses.refuse("top_logprobs", "without 'logprobs: true' there is nothing to rank")
    if request.get("logprobs"):
        made["logprobs"] = max(1, top_logprobs(request))  # some servers take 0 for none at all
    return losses.converted(made)


def top_logprobs(request: Mapping[str, Any]) -> int:
    """Return how many alternatives a chat asks for."""
    top = request.get("top_logprobs")
    return top if type(top) is int else 0


def _add_limit(made: dict[str, Any], request: Mapping[str, Any], default: int | None, losses: Losses) -> None:
    limits = [request[name] for name in ("max_completion_tokens", "max_tokens") if request.get(name) is not None]
    limit = limits[0] if limits else default
    if limit is None:
        losses.refuse(
            "max_tokens", "missing: a chat has no limit then, and a completion 16 tokens; 'default_max_tokens' sets one"
        )
    made["max_tokens"] = limit


def _prompt(request: Mapping[str, Any], tools: Any, options: Options, losses: Losses) -> str:
    kwargs = request.get("chat_template_kwargs")
    if kwargs is not None and not isinstance(kwargs, dict):
        losses.refuse("chat_template_kwargs", "it has to be an object")
        kwargs = None
    values: dict[str, Any] = dict(kwargs or {}) | {
        "messages": _messages(request.get("messages"), losses),
        "tools": tools,
        "add_generation_prompt": request.get("add_generation_prompt", True),
        **options.tokens,
    }
    try:
        return options.template.render(values)
    except TemplateFailed as error:
        losses.refuse("messages", f"the chat template does not take them: {error}")
        return ""


def _messages(messages: Any, losses: Losses) -> list[dict[str, Any]]:
    if not isinstance(messages, list):
        losses.refuse("messages", "it has to be a list")
        return []
    return [_message(message, f"messages[{place}]", losses) for place, message in enumerate(messages)]


def _message(message: Any, at: str, losses: Losses) -> dict[str, Any]:
    if not isinstance(message, dict):
        losses.refuse(at, "a message has to be an object")
        return {}
    made = dict(message)
    for name in ("audio", "function_call"):
        if says_something(message.get(name)):
            losses.refuse(f"{at}.{name}")
    if isinstance(message.get("content"), list):
        made["content"] = _text(message["content"], f"{at}.content", losses)
    if isinstance(message.get("tool_calls"), list):
        made["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return made


def _text(parts: list[Any], at: str, losses: Losses) -> str:
    """Return the text of parts, joined by newlines, as templates take it."""
    texts = []
    for place, part in enumerate(parts):
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if isinstance(text, str):
            texts.append(text)
        else:
            losses.refuse(f"{at}[{place}]", "a prompt holds text only")
    return "\n".join(texts)


def _call(call: Any) -> Any:
    """Return a tool call with its arguments as an object, as templates take them."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        value = parse(function["arguments"].encode()).value
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": value}}
