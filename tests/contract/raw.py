"""Requests as raw bytes, for tests on real sockets."""

import json
from typing import Any

from tests.rawhttp import with_length

CHAT = b"/v1/chat/completions"
CHAT_PATH = CHAT.decode()
RELAYED = b"/v1/anything"
"""A path that runs no pipeline."""


def chat(**fields: Any) -> bytes:
    """A deterministic chat request's body."""
    document = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "hi"}], **fields}
    return json.dumps(document).encode()


def post(target: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> bytes:
    return with_length(b"POST", target, body, headers)
