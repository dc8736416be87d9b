"""streaming: the model server streams, the client gets one document: for gateways that cut long silences."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import Field, field_validator

from proxy.core.document import encode
from proxy.core.errors import AnswerNotEditable
from proxy.core.http import Exchange, Payload, Response, get_header, without_headers
from proxy.core.nearest import did_you_mean
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple
from proxy.wire import routes
from proxy.wire.encoding import decode
from proxy.wire.fold import CHUNKED, read
from proxy.wire.sse import begins_as_events, is_event_stream, split

_DESCRIBES_STREAM = frozenset({b"content-type", b"content-encoding", b"cache-control", b"x-accel-buffering"})


class StreamingConfig(TransformConfig):
    """On which routes it asks for a stream."""

    routes: frozenset[str] = Field(routes.GENERATION, description="routes it acts on: only these four have streams")

    @field_validator("routes")
    @classmethod
    def _have_streams(cls, value: frozenset[str]) -> frozenset[str]:
        for route in sorted(value - routes.GENERATION):
            raise ValueError(f"it has no meaning on '{route}'{did_you_mean(route, routes.GENERATION)}")
        return value


class Streaming:
    """Asks for a stream where the client did not, and puts it together. A client that streams gets its stream."""

    def __init__(self, config: StreamingConfig, services: Services) -> None:
        pass

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        body, route = exchange.request.body, exchange.route
        assert route is not None, "only pipeline routes have transforms"
        if body.json.get("stream") is True:
            return await call_next(exchange)
        document = body.edit()
        document["stream"] = True
        if route in CHUNKED:
            document["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
        response = await call_next(exchange)
        raw = await response.read()  # one document is all of it
        stream = decode(raw, get_header(response.headers, b"content-encoding"))
        if is_event_stream(response.headers) or begins_as_events(stream or b""):
            _put_together(response, route, stream)
        return response


def _put_together(response: Response, route: str, stream: bytes | None) -> None:
    if stream is None:
        raise AnswerNotEditable("the content encoding of the model server's stream cannot be taken off")
    error = _error(stream)
    if error is None:
        try:
            answer = encode(read(route, stream))
        except ValueError as reason:
            raise AnswerNotEditable(f"the model server's stream cannot be put together: {reason}") from None
    else:
        response.status, answer = error
    response.headers = [
        *without_headers(response.headers, _DESCRIBES_STREAM),
        (b"content-type", b"application/json"),
    ]
    response.body = Payload(answer)


def _error(stream: bytes) -> tuple[int, bytes] | None:
    """Return status and body of the error that the stream tells of, if it does."""
    for event in split(stream).events:
        try:
            document: Any = orjson.loads(event.data)
        except orjson.JSONDecodeError:  # `[DONE]`, or what nobody can put together
            continue
        error = document.get("error") if isinstance(document, dict) else None
        if error is not None:
            code = error.get("code") if isinstance(error, dict) else None
            return code if type(code) is int and 400 <= code <= 599 else 502, event.data
    return None


PLUGIN = Plugin(StreamingConfig, Layer.TRANSFORM, simple(Streaming), rank=900)
