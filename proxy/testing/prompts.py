"""Renders chat messages to the prompt the model sees."""

import hashlib
from typing import Any

from proxy.testing.errors import ApiError
from proxy.testing.jsonio import dumps


def render_chat(messages: Any) -> str:
    """The prompt for a list of chat messages; raises ApiError 400 if it is not one.

    Text parts are taken as they are; other parts (images, audio) as a short digest, so that another image is another
    prompt.
    """
    if not isinstance(messages, list):
        problem = "messages is required" if messages is None else "messages must be a list of messages"
        raise ApiError(400, problem, param="messages")
    return "".join(_render(message) for message in messages) + "<|assistant|>\n"


def last_user_text(messages: list[Any]) -> str:
    """The text of the last user message, "" if there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return content_text(message.get("content"))
    return ""


def content_text(content: Any) -> str:
    """The text of a message's content, whichever of the accepted forms it has."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part_text(part) for part in content)
    raise ApiError(400, "message content must be a string or a list of parts", param="messages")


def _render(message: Any) -> str:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise ApiError(400, "every message must be an object with a role", param="messages")
    calls = message.get("tool_calls")
    called = dumps(calls).decode() if calls else ""
    return f"<|{message['role']}|>\n{content_text(message.get('content'))}{called}\n"


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise ApiError(400, "every content part must be an object with a type", param="messages")
    if isinstance(part.get("text"), str):
        return str(part["text"])
    return f"<|{part['type']} {hashlib.blake2b(dumps(part), digest_size=6).hexdigest()}|>"
