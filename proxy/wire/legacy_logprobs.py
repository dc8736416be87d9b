"""Log probabilities of /v1/completions that a server shaped as those of a chat."""

from __future__ import annotations

from typing import Any


class LegacyLogprobs:
    """Gives them the route's own shape: one is made for each answer, and told every choice in order."""

    def __init__(self) -> None:
        self._offsets: dict[int, int] = {}

    def reshape(self, choice: dict[str, Any], index: int) -> None:
        """Change a choice, or a chunk of one, in place.

        `{"content": [{"token", "logprob", "top_logprobs": [...]}]}` becomes `{"tokens", "token_logprobs",
        "top_logprobs", "text_offset"}`. Offsets are characters from the beginning of the generated text, as far as
        the tokens tell.
        """
        held = choice.get("logprobs")
        entries = held.get("content") if isinstance(held, dict) and "tokens" not in held else None
        if isinstance(entries, list) and all(map(_is_entry, entries)):
            choice["logprobs"] = self._legacy(entries, index)

    def _legacy(self, entries: list[dict[str, Any]], index: int) -> dict[str, Any]:
        offset = self._offsets.get(index, 0)
        offsets = []
        for entry in entries:
            offsets.append(offset)
            offset += len(entry["token"])
        self._offsets[index] = offset
        return {
            "tokens": [entry["token"] for entry in entries],
            "token_logprobs": [entry["logprob"] for entry in entries],
            "top_logprobs": [_top(entry) for entry in entries],
            "text_offset": offsets,
        }


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("token"), str) and "logprob" in entry


def _top(entry: dict[str, Any]) -> dict[str, Any]:
    listed = entry.get("top_logprobs")
    return {item["token"]: item["logprob"] for item in (listed if isinstance(listed, list) else ()) if _is_entry(item)}
