"""damping: a failure that is asked for over and over is answered from a short memory, not by the model server."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field, PositiveInt

from proxy.core.facts import Damped, UpstreamFacts
from proxy.core.http import Exchange, Payload, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Config, Plugin, Services, simple
from proxy.interceptors.failures import Failure, digest
from proxy.interceptors.refused_kinds import RefusedKinds, place_of

logger = logging.getLogger("evalside")

LONGEST = 1.0
"""Seconds. A recovery is never hidden for longer, and whoever pauses for as long does not hammer."""
LARGEST = 64 * 1024
"""Bytes. A longer failure is not remembered."""
MOST = 256
"""Failures that are remembered in each worker; the one that was asked for longest ago goes."""

_TEMPORARY = frozenset({408, 409, 423, 424, 425, 429, 499})
"""Client errors that may be over at any moment: the model server says itself when to come back, or `retry` waits."""
_BROKEN = frozenset({500, 501})
"""Server errors that are about the request. 502 to 504 are about load, and waiting for them is what `retry` is for."""


class DampingConfig(Config):
    """When a failure counts as hammered, and for how long it is remembered."""

    after: PositiveInt = Field(
        3,
        description="identical client errors (4xx) in a row, to one request or different ones, that pass untouched",
    )
    after_server_errors: PositiveInt = Field(10, description="the same for 500 and 501, which may come by chance")
    seconds: float = Field(
        LONGEST, gt=0, le=LONGEST, description="how long the last failure is repeated before one is asked for again"
    )


@dataclass(slots=True)
class _Failure(Failure):
    """What the model server said to one request."""

    size: int = 0
    """Of the request's body."""
    seen_at: float = 0.0
    """When a client asked for it, or got it, last."""


class Damping:
    """Repeats what the model server answers again and again to one request, for at most a second at a time.

    What it answers to all requests of a kind is repeated to those among them that ask again, and one of them asks the
    server each second for all.

    Where nothing fails it looks at two empty dictionaries.
    """

    def __init__(self, config: DampingConfig, services: Services, now: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._log = services.log
        self._now = now
        self._failures: OrderedDict[bytes, _Failure] = OrderedDict()
        self._sizes: Counter[int] = Counter()
        self._kinds = RefusedKinds(config.after)

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        key: bytes | None = None
        if self._remembers(exchange):
            key = _key(exchange)
            failure = self._hammered(key)
            if failure is not None:
                return self._repeat(exchange, failure, "one and the same request")
        if self._kinds:
            refusal = self._refused_alike(exchange)
            if refusal is not None:
                return self._repeat(exchange, refusal, "requests that differ in their content alone")
        response = await call_next(exchange)
        if response.status >= 400:
            self._note(exchange, response)
        elif self._remembers(exchange):
            self._forget(key or _key(exchange))  # a failure may have come while this was asked
        if response.status >= 400 or self._kinds:
            self._note_kind(exchange, response)
        return response

    def _remembers(self, exchange: Exchange) -> bool:
        """Return whether there may be a failure of this request: a digest costs more than the length of its body."""
        return bool(self._failures) and len(exchange.request.body) in self._sizes

    def _hammered(self, key: bytes) -> _Failure | None:
        """Return the failure that is to be repeated, None where the model server is to be asked."""
        failure = self._failures.get(key)
        if failure is None:
            return None
        now = self._now()
        if now - failure.seen_at >= LONGEST:
            self._forget(key)
            return None
        failure.seen_at = now
        fresh = now - failure.failed_at < self._config.seconds
        return failure if fresh and failure.times >= self._passing(failure.status) else None

    def _passing(self, status: int) -> int:
        return self._config.after if status < 500 else self._config.after_server_errors

    def _refused_alike(self, exchange: Exchange) -> Failure | None:
        """Return what the server refused this request with before, if it said the same to all others of its kind."""
        now, place = self._now(), place_of(exchange)
        failure = self._kinds.known(place, now) if place is not None else None
        fresh = failure is not None and now - failure.failed_at < self._config.seconds
        return failure if fresh else None

    def _repeat(self, exchange: Exchange, failure: Failure, to: str) -> Response:
        failure.repeated += 1
        if failure.repeated == 1:
            logger.warning(
                "damping: %s was answered %d times in a row with %d to %s; it is repeated from memory, and asked for"
                " again after %g s",
                exchange.request.path.decode("latin-1"),
                failure.times,
                failure.status,
                to,
                self._config.seconds,
            )
        exchange.put(Damped(failure.repeated))
        self._log.observe(exchange.run, {"damped": 1})
        return Response(failure.status, list(failure.headers), Payload(failure.body))

    def _note(self, exchange: Exchange, response: Response) -> None:
        key = _key(exchange)
        if not _is_damped(exchange, response):
            self._forget(key)
            return
        failure = self._failures.get(key)
        if failure is None or failure.status != response.status:
            self._forget(key)
            failure = _Failure(response.status, [], b"", size=len(exchange.request.body))
            self._failures[key] = failure
            self._sizes[failure.size] += 1
        failure.told(response, self._now())
        failure.seen_at = failure.failed_at
        self._failures.move_to_end(key)
        if len(self._failures) > MOST:
            self._forget(next(iter(self._failures)))

    def _note_kind(self, exchange: Exchange, response: Response) -> None:
        place = place_of(exchange)
        if place is None:
            return
        if 400 <= response.status < 500 and _is_damped(exchange, response):
            self._kinds.refused(place, response, self._now())
        else:
            self._kinds.forget(place)

    def _forget(self, key: bytes) -> None:
        failure = self._failures.pop(key, None)
        if failure is not None:
            self._sizes[failure.size] -= 1
            if not self._sizes[failure.size]:
                del self._sizes[failure.size]


def _is_damped(exchange: Exchange, response: Response) -> bool:
    """Return whether it is a failure whose repetition says nothing new: quick, short, complete and not temporary."""
    status = response.status
    if status in _TEMPORARY or (status >= 500 and status not in _BROKEN):
        return False
    upstream = exchange.get(UpstreamFacts)
    quick = upstream is None or upstream.ms < LONGEST * 1000  # who waits longer for each failure does not hammer
    return quick and isinstance(response.body, Payload) and len(response.body) <= LARGEST


def _key(exchange: Exchange) -> bytes:
    return digest(exchange.run, exchange.request, exchange.request.body.raw)


PLUGIN = Plugin(DampingConfig, Layer.TRANSPORT, simple(Damping), rank=-10)
