"""What damping remembers: a failure as the model server told it, and the request that it was told to."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from proxy.core.http import Headers, Payload, Request, Response

_OF_ONE_ATTEMPT = re.compile(
    rb"x-stainless-|traceparent$|tracestate$|baggage$|x-b3-|b3$|x-request-id$|x-correlation-id$|idempotency-key$"
    rb"|content-length$|connection$|date$"
)
"""Headers that differ between two attempts at the same request, and change no answer."""


@dataclass(slots=True)
class Failure:
    """What the model server said, each time."""

    status: int
    headers: Headers
    body: bytes
    failed_at: float = 0.0
    """When it said so last."""
    times: int = 0
    """How often in a row it said so."""
    repeated: int = 0
    """How often that was said from memory."""

    def told(self, response: Response, now: float) -> None:
        """Note that the model server said so again."""
        assert isinstance(response.body, Payload)
        self.headers, self.body = list(response.headers), response.body.raw
        self.times += 1
        self.failed_at = now


def digest(run: str | None, request: Request, body: bytes) -> bytes:
    """Return a digest of the request with this body, credentials included, but for what is one attempt's own.

    A header that nobody knows keeps two requests apart: at worst a failure is asked for once more.
    """
    found = hashlib.sha256()
    headers = sorted((name.lower(), value) for name, value in request.headers)
    fixed = [item for item in headers if _OF_ONE_ATTEMPT.match(item[0]) is None]
    parts = [(run or "").encode(), request.method.encode(), request.target, body]
    for part in [*parts, *(text for item in fixed for text in item)]:
        found.update(b"%d:" % len(part) + part)
    return found.digest()
