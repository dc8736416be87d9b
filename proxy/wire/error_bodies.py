"""Errors of model servers that are not shaped as OpenAI's `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Shape = Literal["detail", "text", "flat"]
"""`{"detail": text or list}` as FastAPI has it; `{"error": text, "error_type"}` of text-generation-inference;
`{"object": "error", "message", "type", "param", "code"}` of vLLM's older versions, and of those that took it over."""

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


def reshape(document: dict[str, Any], shape: Shape, status: int) -> bool:
    """Turn an error into OpenAI's shape, in place; return False, and change nothing, where it has not this shape."""
    error = _read(document, shape)
    if error is None:
        return False
    document.clear()
    document["error"] = {"message": "", "type": _kind(status), "param": None, "code": None, **error}
    return True


def _read(document: Mapping[str, Any], shape: Shape) -> dict[str, Any] | None:
    match shape, document:
        case "detail", {"detail": str(text)}:
            return {"message": text}
        case "detail", {"detail": [*items]} if items:
            return {"message": "; ".join(_told(items)), "param": _param(items)}
        case "text", {"error": str(text), **rest}:
            kind = rest.get("error_type")
            return {"message": text, **({"type": kind} if isinstance(kind, str) else {})}
        case "flat", {"object": "error", "message": str(text), **rest}:
            return {"message": text, **{name: rest[name] for name in ("type", "param", "code") if name in rest}}
    return None


def _told(items: Iterable[Any]) -> Iterable[str]:
    for item in items:
        match item:
            case {"msg": str(text), "loc": [*path]}:
                yield ".".join(str(part) for part in path if part != "body") + f": {text}" if path[1:] else text
            case _:
                yield str(item)


def _param(items: list[Any]) -> str | None:
    match items[0]:
        case {"loc": ["body", str(name), *_]}:
            return name
    return None


def _kind(status: int) -> str:
    return _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
