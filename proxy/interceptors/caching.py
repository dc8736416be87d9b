"""caching: a complete answer to a deterministic request is asked for once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from proxy.core.facts import CacheFacts, CacheOverride, UpstreamFacts
from proxy.core.hop import HOP_BY_HOP
from proxy.core.http import Exchange, Payload, Response, get_header
from proxy.core.pipeline import Layer, Next
from proxy.core.redact import Redactor
from proxy.core.stream import Outcome
from proxy.interceptors.base import Config, Plugin, Services, simple
from proxy.store.base import DEFAULT_RUN, POOLED, EntryKey, ResponseStore, StoredResponse
from proxy.wire import routes
from proxy.wire.complete import is_complete
from proxy.wire.encoding import decode
from proxy.wire.key import KEY_HEADERS, KeyInput, cache_key, canonical, is_deterministic
from proxy.wire.shape import shape_of
from proxy.wire.sse import is_event_stream
from proxy.wire.state import remote_media, server_state

Mode = Literal["on", "off", "read", "write"]

LARGEST = 64 * 1024 * 1024
"""Bytes. A longer answer is relayed and not kept."""

_SHORTEST_KEY = 24
"""Bytes of a header that carries a real key."""

_NOT_KEPT = HOP_BY_HOP | {
    b"age",
    b"cf-ray",
    b"openai-processing-ms",
    b"content-encoding",
    b"content-length",
    b"date",
    b"set-cookie",
}


class CachingConfig(Config):
    """Where answers are kept, and which way the cache works."""

    mode: Mode | None = Field(None, description="on, off, read (store nothing) or write (serve nothing); null is on")
    reuse_cached_responses: bool | None = Field(None, description="the reference's switch: true is on, false is write")
    bypass: bool = Field(False, description="the reference's switch: true is off")
    cache_dir: Path | None = Field(None, description="folder of a cache of its own; null keeps it in the store")
    key_headers: tuple[str, ...] = Field(
        tuple(name.decode() for name in KEY_HEADERS), description="request headers that are part of the key"
    )
    save_requests: bool = Field(False, description="the reference's: whether reports hold requests; there are none yet")
    save_responses: bool = Field(True, description="the reference's: whether reports hold answers; there are none yet")
    max_saved_requests: NonNegativeInt | None = Field(None, description="the reference's: requests in a report")
    max_saved_responses: NonNegativeInt | None = Field(None, description="the reference's: answers in a report")
    allow_remote_media: bool = Field(False, description="cache requests that point at media by URL")

    @field_validator("mode", mode="before")
    @classmethod
    def _as_yaml_reads_it(cls, value: Any) -> Any:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value  # YAML reads `on` as true

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> CachingConfig:
        said = [name for name in ("mode", "reuse_cached_responses") if getattr(self, name) is not None]
        if self.bypass:
            said.append("bypass")
        if len(said) > 1:
            raise ValueError(f"{' and '.join(said)} say the same thing in different ways; keep one of them")
        return self

    @property
    def effective_mode(self) -> Mode:
        """The mode that the options add up to."""
        if self.bypass:
            return "off"
        if self.reuse_cached_responses is not None:
            return "on" if self.reuse_cached_responses else "write"
        return self.mode or "on"


class _Place(NamedTuple):
    """Where the answer to a request belongs."""

    at: EntryKey
    request: bytes
    deterministic: bool


class Caching:
    """Serves complete answers of deterministic requests, and stores every complete answer as the server gave it.

    Answers to sampled requests are stored and not served: identical requests at a temperature are meant to differ.
    """

    def __init__(self, config: CachingConfig, services: Services) -> None:
        self._mode: str = config.effective_mode
        self._store: ResponseStore = services.responses(config.cache_dir)
        self._redactor = services.redactor
        self._identity = services.identity
        self._key_headers = tuple(name.lower().encode() for name in config.key_headers)
        self._allow_remote_media = config.allow_remote_media

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        override = exchange.get(CacheOverride)
        mode = override.mode if override is not None else self._mode
        if mode == "off":
            exchange.put(CacheFacts("off"))
            return await call_next(exchange)
        place, reason = self._place(exchange)
        if place is None:
            exchange.put(CacheFacts("bypass", reason=reason))
            return await call_next(exchange)
        key = place.at.key.hex()
        if place.deterministic and mode != "write":
            stored = await self._store.get(place.at)
            if stored is not None:
                exchange.put(CacheFacts("hit", key))
                return Response(stored.status, list(stored.headers), Payload(stored.body))
        exchange.put(CacheFacts("miss", key))
        response = await call_next(exchange)
        if mode != "read" and response.status == 200:
            response.tap(_Keep(exchange, response, place, self._store, self._redactor))
        return response

    def _place(self, exchange: Exchange) -> tuple[_Place | None, str | None]:
        """Return where the answer belongs, or why it belongs nowhere."""
        request, route = exchange.request, exchange.route
        assert route is not None
        if not request.body.exact:
            return None, "the body is not strict JSON"
        document = request.body.json
        held = server_state(document)
        if held is not None:
            return None, f"'{held}' depends on state of the server"
        remote = None if self._allow_remote_media else remote_media(document)
        if remote is not None:
            return None, f"{remote} points at remote media (allow_remote_media)"
        source = KeyInput(
            identity=self._identity,
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
        )
        try:
            body = canonical(document)
        except ValueError:
            return None, "the body cannot be written as JSON"
        deterministic = route not in routes.SAMPLING or is_deterministic(document)
        pool, sample = (POOLED, 0) if deterministic else (exchange.run or DEFAULT_RUN, None)
        at = EntryKey(cache_key(source, body, self._key_headers), pool, sample, shape_of(document))
        return _Place(at, body, deterministic), None


def _is_of_the_moment(name: bytes) -> bool:
    """Return whether a header field tells of one request and would be untrue of the next."""
    return name in _NOT_KEPT or name.startswith(b"x-ratelimit-") or name.endswith((b"request-id", b"requestid"))


class _Keep:
    """Collects an answer and stores it once its route's end rule says that it is complete."""

    def __init__(
        self, exchange: Exchange, response: Response, place: _Place, store: ResponseStore, redactor: Redactor
    ) -> None:
        self._exchange = exchange
        self._response = response
        self._place = place
        self._store = store
        self._redactor = redactor
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= LARGEST:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def done(self, outcome: Outcome) -> None:
        if outcome is not Outcome.COMPLETE or self._size > LARGEST:
            return
        headers = self._response.headers
        body = decode(b"".join(self._chunks), get_header(headers, b"content-encoding"))
        streamed = is_event_stream(headers)
        route = self._exchange.route
        document = self._exchange.request.body.json
        if body is None or route is None or streamed != (document.get("stream") is True):
            return
        if not is_complete(route, document, body, streamed=streamed):
            return
        kept = [item for item in headers if not _is_of_the_moment(item[0].lower())]
        if self._holds_secret(body, self._place.request, *(value for _, value in kept)):
            return  # what is served has to be what the server said, so it cannot be kept without its secret
        upstream = self._exchange.get(UpstreamFacts)
        self._store.put(
            self._place.at,
            StoredResponse(
                status=200,
                headers=kept,
                body=body,
                route=route,
                request=self._place.request,
                upstream_ms=upstream.ms if upstream is not None else 0.0,
                created_at=time.time(),
            ),
        )

    def _holds_secret(self, *parts: bytes) -> bool:
        # Clients without a key send a word ("unused", "not-needed"), which an answer may well contain.
        keys = [item for item in self._exchange.received_headers if len(item[1]) >= _SHORTEST_KEY]
        return any(self._redactor.raw(part, keys) != part for part in parts)


PLUGIN = Plugin(CachingConfig, Layer.CACHE, simple(Caching))
