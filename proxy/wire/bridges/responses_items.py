"""Input items of /v1/responses as the messages of a chat.

Format: https://platform.openai.com/docs/api-reference/responses/create. What names an item (`id`) or tells how it ended
(`status`) belongs to the form and has no counterpart in a chat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.wire.bridges.losses import Losses
from proxy.wire.bridges.responses_parts import chat_content

_ROLES = frozenset({"user", "assistant", "system", "developer"})
_FORM = frozenset({"type", "id", "status"})


class Messages:
    """Collects messages item by item.

    Reasoning, text and tool calls that follow each other are one message of the assistant, as a chat has them.

    Args:
        developer_role: what messages of the role `developer` become.
        reasoning_field: where a message holds the assistant's reasoning.
        losses: collects what cannot be carried over.
    """

    def __init__(self, developer_role: str, reasoning_field: str, losses: Losses) -> None:
        self.all: list[dict[str, Any]] = []
        self._developer_role = developer_role
        self._reasoning_field = reasoning_field
        self._losses = losses
        self._assistant: dict[str, Any] | None = None

    def instruct(self, instructions: Any) -> None:
        """Begin with `instructions`, a text."""
        if isinstance(instructions, str):
            self.all.append({"role": "system", "content": instructions})
        elif instructions is not None:
            self._losses.refuse("instructions", "only text can be a system message")

    def take(self, given: Any) -> None:
        """Add `input`: a text, or a list of items."""
        if isinstance(given, str):
            self.all.append({"role": "user", "content": given})
        elif isinstance(given, list):
            for place, item in enumerate(given):
                self._item(item, f"input[{place}]")
        else:
            self._losses.refuse("input", "it has to be a text or a list of items")

    def _item(self, item: Any, at: str) -> None:
        if not isinstance(item, dict):
            self._losses.refuse(at, "an item has to be an object")
            return
        kind = item.get("type", "message")
        if kind == "message":
            self._message(item, at)
        elif kind == "reasoning":
            self._reasoning(item, at)
        elif kind == "function_call":
            self._call(item, at)
        elif kind == "function_call_output":
            self._output(item, at)
        else:
            self._losses.refuse(at, f"a chat has no item of type {kind!r}")

    def _message(self, item: Mapping[str, Any], at: str) -> None:
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            self._losses.refuse(f"{at}.role", f"a chat takes no {role!r} here")
            return
        self._leave_others(item, {"role", "content"}, at)
        content = chat_content(item.get("content"), f"{at}.content", self._losses)
        if role != "assistant":
            self._assistant = None
            self.all.append({"role": self._developer_role if role == "developer" else role, "content": content})
            return
        assistant = self._assistant
        if assistant is None or assistant["content"] is not None or "tool_calls" in assistant:
            assistant = self._new_assistant()
        assistant["content"] = content

    def _reasoning(self, item: Mapping[str, Any], at: str) -> None:
        parts = item.get("content") or item.get("summary") or []
        listed = parts if isinstance(parts, list) else [parts]
        texts = [part.get("text") if isinstance(part, dict) else None for part in listed]
        if not all(isinstance(text, str) for text in texts):
            self._losses.refuse(at, "its parts need a text each")
        elif texts:
            self._losses.leave("input[].encrypted_content", item.get("encrypted_content"))
            self._leave_others(item, {"content", "summary", "encrypted_content"}, at)
            self._new_assistant()[self._reasoning_field] = "".join(map(str, texts))
        elif item.get("encrypted_content"):
            self._losses.refuse(f"{at}.encrypted_content", "only the server that wrote it can read it")

    def _call(self, item: Mapping[str, Any], at: str) -> None:
        self._leave_others(item, {"call_id", "name", "arguments"}, at)
        assistant = self._assistant or self._new_assistant()
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        calls = assistant.setdefault("tool_calls", [])
        calls.append({"id": item.get("call_id"), "type": "function", "function": function})

    def _output(self, item: Mapping[str, Any], at: str) -> None:
        self._assistant = None
        self._leave_others(item, {"call_id", "output"}, at)
        content = chat_content(item.get("output"), f"{at}.output", self._losses)
        self.all.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})

    def _new_assistant(self) -> dict[str, Any]:
        self._assistant = {"role": "assistant", "content": None}
        self.all.append(self._assistant)
        return self._assistant

    def _leave_others(self, item: Mapping[str, Any], known: set[str], at: str) -> None:
        for name, value in item.items():
            if name not in _FORM and name not in known:
                self._losses.leave(f"{at.partition('[')[0]}[].{name}", value)
