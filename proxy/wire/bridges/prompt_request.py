"""A request to /v1/completions as one to /v1/chat/completions: the prompt is one message of the user.

Formats: https://platform.openai.com/docs/api-reference/completions/create and /chat/create. A field that is not named
here means the same on both routes, or is the server's own, and goes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.wire.bridges.losses import Converted, Losses, says_something
from proxy.wire.bridges.template import Template, TemplateFailed

NAME = "completions_to_chat"

CONVERTED = ("logprobs", "max_tokens", "prompt")
"""Fields that a chat has in another form; a limit that is missing is filled in."""

LEFT_OUT: tuple[str, ...] = ()
"""Nothing: what a chat lacks would change the answer."""

REFUSED = ("best_of", "echo", "suffix")
"""What would change the answer. `best_of` of 1, or of as many as `n`, asks for nothing and is left out."""

FOREIGN = ("messages", "tools", "top_logprobs")
"""Fields of a chat that a completion does not have: their place is taken, or the answer could not be given back."""

_WAY_OUT = "send the request without, or ask a model server that has /v1/completions"


def prompt_request(
    request: Mapping[str, Any], template: Template, default_max_tokens: int | None, *, strict: bool = False
) -> Converted:
    """Return the request as a chat.

    Args:
        request: the completion's.
        template: makes the user's message of `prompt`.
        default_max_tokens: the limit where the request has none; None leaves a chat without one.
        strict: whether nothing may be left out.

    Raises:
        NotCarried: something that would change the answer has no place in a chat.
    """
    losses = Losses(NAME, _WAY_OUT, strict=strict)
    for name in FOREIGN:
        if says_something(request.get(name)):
            losses.refuse(name, "it is a field of a chat")
    for name in REFUSED:
        if says_something(request.get(name)) and not (name == "best_of" and request[name] in (1, request.get("n"))):
            losses.refuse(name)
    known = {"prompt", "logprobs", *LEFT_OUT, *REFUSED, *FOREIGN}
    chat = {name: value for name, value in request.items() if name not in known}
    chat["messages"] = [{"role": "user", "content": _message(request.get("prompt"), template, losses)}]
    if request.get("max_tokens") is None and default_max_tokens is not None:
        chat["max_tokens"] = default_max_tokens
    top = request.get("logprobs")
    if top is not None and top is not False:
        chat |= {"logprobs": True, "top_logprobs": top}
    return losses.converted(chat)


def _message(prompt: Any, template: Template, losses: Losses) -> str:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        [prompt] = prompt
    if not isinstance(prompt, str):
        losses.refuse("prompt", "a chat takes one text, neither several nor token ids")
        return ""
    try:
        return template.render({"prompt": prompt})
    except TemplateFailed as error:
        losses.refuse("prompt", f"the template does not take it: {error}")
        return ""
