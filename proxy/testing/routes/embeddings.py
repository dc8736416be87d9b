"""POST /v1/embeddings: deterministic unit vectors."""

import base64
import hashlib
import math
import struct
import time
from typing import Any

from proxy.testing.errors import ApiError
from proxy.testing.generation import integer
from proxy.testing.model import Model, count_tokens
from proxy.testing.replies import Reply
from proxy.testing.routes.completions import prompt_texts


def embeddings(model: Model, body: dict[str, Any]) -> Reply:
    """Answer an embedding request; input has the four forms of a prompt. Raises ApiError."""
    name = model.name_for(body)
    texts = prompt_texts(body.get("input"), "input")
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise ApiError(400, f"encoding_format must be float or base64, got {encoding!r}", param="encoding_format")
    size = integer(body, "dimensions", minimum=1) or model.options.embedding_dimensions
    data = [
        {"index": index, "object": "embedding", "embedding": _encoded(embed(text, size), encoding)}
        for index, text in enumerate(texts)
    ]
    tokens = sum(count_tokens(text) for text in texts)
    answer = {
        "id": model.new_id("embd-"),
        "object": "list",
        "created": int(time.time()),
        "model": name,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }
    return model.plain(answer, 0)


def embed(text: str, size: int) -> bytes:
    """A unit vector of `size` little-endian 32-bit floats, the same for the same text."""
    stream = hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(2 * size)
    values = [value / 32768 or 1.0 for value in struct.unpack(f"<{size}h", stream)]
    norm = math.sqrt(sum(value * value for value in values))
    return struct.pack(f"<{size}f", *(value / norm for value in values))


def _encoded(vector: bytes, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return base64.b64encode(vector).decode()
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))
