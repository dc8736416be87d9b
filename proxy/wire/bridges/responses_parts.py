"""Content parts of /v1/responses as those of a chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxy.core.difference import without_indexes
from proxy.wire.bridges.losses import Losses, says_something

Part = dict[str, Any]


def chat_content(content: Any, at: str, losses: Losses) -> Any:
    """Return the content of a message or of a tool's output: a text where it is one, else parts.

    Args:
        content: a text or a list of parts.
        at: where it stands in the request, for the error.
        losses: collects what cannot be carried over.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        losses.refuse(at, "it has to be a text or a list of parts")
        return None
    parts = [_part(part, f"{at}[{place}]", losses) for place, part in enumerate(content)]
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].get("type") == "text":
        return parts[0]["text"]
    return parts


def _part(part: Any, at: str, losses: Losses) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    convert = _PARTS.get(kind) if isinstance(kind, str) else None
    if convert is None:
        losses.refuse(at, f"a chat has no part of type {kind!r}")
        return {}
    return convert(part, at, losses)


def _text(part: Mapping[str, Any], at: str, losses: Losses) -> Part:
    _leave_others(part, {"text"}, at, losses)
    if not isinstance(part.get("text"), str):
        losses.refuse(f"{at}.text", "it has to be a text")
    return {"type": "text", "text": part.get("text")}


def _refusal(part: Mapping[str, Any], at: str, losses: Losses) -> Part:
    _leave_others(part, {"refusal"}, at, losses)
    return {"type": "refusal", "refusal": part.get("refusal")}


def _image(part: Mapping[str, Any], at: str, losses: Losses) -> Part:
    if not isinstance(part.get("image_url"), str):
        losses.refuse(at, "a chat takes an image by its 'image_url' only")
    _leave_others(part, {"image_url", "detail"}, at, losses)
    image = {"url": part.get("image_url")}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _file(part: Mapping[str, Any], at: str, losses: Losses) -> Part:
    if says_something(part.get("file_url")):
        losses.refuse(f"{at}.file_url", "a chat takes files by 'file_data' or 'file_id'")
    names = ("file_data", "file_id", "filename")
    _leave_others(part, {"file_url", *names}, at, losses)
    return {"type": "file", "file": {name: part[name] for name in names if part.get(name) is not None}}


def _audio(part: Mapping[str, Any], at: str, losses: Losses) -> Part:
    _leave_others(part, {"input_audio"}, at, losses)
    return {"type": "input_audio", "input_audio": part.get("input_audio")}


def _leave_others(part: Mapping[str, Any], known: set[str], at: str, losses: Losses) -> None:
    for name, value in part.items():
        if name != "type" and name not in known:
            losses.leave(f"{without_indexes(at)}.{name}", value)


_PARTS: dict[str, Callable[[Mapping[str, Any], str, Losses], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}
"""Type of a part -> what makes a chat's part of it."""
