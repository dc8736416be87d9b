"""What was said until now, in the form of a chat, whether a request is one or is made of the items of a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.wire.bridges.losses import Losses
from proxy.wire.bridges.responses_items import Messages


def messages_of(document: Mapping[str, Any]) -> list[Any]:
    """Return the messages of a request; items become messages as a bridge makes them, and what is neither gives none.

    What a chat has no place for is not in them: they are for counting and telling apart, not for sending.
    """
    messages = document.get("messages")
    if isinstance(messages, list):
        return messages
    if document.get("input") is None:
        return []
    made = Messages("developer", "reasoning_content", Losses("", ""))
    made.take(document["input"])
    return made.all
