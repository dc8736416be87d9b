"""The onion: interceptors composed once at start-up around a terminal that asks the model server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from proxy.core.errors import InterceptorFailed, ProxyError
from proxy.core.http import Exchange, Payload, Response

Next = Callable[[Exchange], Awaitable[Response]]


class Layer(IntEnum):
    """Where an interceptor works, from the client inwards. The pipeline is sorted by it, not by the list's order."""

    OBSERVE = 0
    TRANSFORM = 1
    CACHE = 2
    TRANSPORT = 3


class Interceptor(Protocol):
    """`async (exchange, call_next) -> Response`. Code after `await call_next` runs at headers, not at the end."""

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        """Handle one exchange."""


@dataclass(frozen=True, slots=True)
class Stage:
    """An interceptor in its place. `routes` limits it to some routes; None means all of them."""

    name: str
    layer: Layer
    rank: int
    interceptor: Interceptor
    routes: frozenset[str] | None = None
    strict: bool = False
    """Of a transform: a change is an error."""
    changes: bool = True
    """Of a transform: False for one that only looks, so that nobody compares what it was given with what it gives."""


def in_order(stages: Sequence[Stage]) -> list[Stage]:
    """Return the stages sorted by layer and rank, stable where both are equal."""
    return sorted(stages, key=lambda stage: (stage.layer, stage.rank))


def compose(stages: Sequence[Stage], terminal: Next, *, on_failure: Callable[[str], None] = lambda name: None) -> Next:
    """Return one callable that runs `stages` around `terminal`.

    Args:
        stages: in any order; they are sorted here.
        terminal: asks the model server.
        on_failure: called with the name of an interceptor that raised something else than a `ProxyError`.
    """
    step = terminal
    ordered = in_order(stages)
    innermost = max((place for place, stage in enumerate(ordered) if _keeps_ledger(stage)), default=None)
    for index in range(len(ordered) - 1, -1, -1):
        stage = ordered[index]
        if stage.layer is Layer.OBSERVE:
            if index + 1 == len(ordered) or ordered[index + 1].layer is not Layer.OBSERVE:
                step = _answer_errors(step)
            step = _fail_open(stage, step, on_failure)
        elif _keeps_ledger(stage):
            if index == innermost:
                step = _begin_answer(step)
            step = _keep_ledger(stage, step, on_failure)
        else:
            step = _fail_closed(stage, step, on_failure)
    return step


def _keeps_ledger(stage: Stage) -> bool:
    return stage.layer is Layer.TRANSFORM and stage.changes


def _answer_errors(inner: Next) -> Next:
    """Turn our own errors into responses, so that observers see what the client gets."""

    async def answer_errors(exchange: Exchange) -> Response:
        try:
            return await inner(exchange)
        except ProxyError as error:
            return _answer(exchange, error)

    return answer_errors


def _answer(exchange: Exchange, error: ProxyError) -> Response:
    exchange.error = error
    return Response(error.status, error.response_headers(), Payload(error.body()))


def _begin_answer(inner: Next) -> Next:
    async def begin_answer(exchange: Exchange) -> Response:
        response = await inner(exchange)
        exchange.ledger.begin_answer(response)
        return response

    return begin_answer


def _keep_ledger(stage: Stage, inner: Next, on_failure: Callable[[str], None]) -> Next:
    """Enter what a transform changes, on the way in and on the way back."""
    name, strict = stage.name, stage.strict

    async def noted(exchange: Exchange) -> Response:
        exchange.ledger.note_request(name, exchange.request, strict=strict)
        return await inner(exchange)

    transform = _fail_closed(stage, noted, on_failure)

    async def keep_ledger(exchange: Exchange) -> Response:
        response = await transform(exchange)
        exchange.ledger.note_answer(name, response, strict=strict)
        return response

    return keep_ledger


def _fail_closed(stage: Stage, inner: Next, on_failure: Callable[[str], None]) -> Next:
    """A failing transform is a 500 that names it, never a silent skip."""
    interceptor, routes = stage.interceptor, stage.routes

    async def call(exchange: Exchange) -> Response:
        if routes is not None and exchange.route not in routes:
            return await inner(exchange)
        try:
            response = await interceptor(exchange, inner)
        except ProxyError:
            raise
        except Exception as error:
            on_failure(stage.name)
            raise InterceptorFailed(f"interceptor '{stage.name}' failed: {error!r}") from error
        exchange.owns(response)  # what it holds is released even where a stage further out fails
        return response

    return call


def _fail_open(stage: Stage, inner: Next, on_failure: Callable[[str], None]) -> Next:
    """A failing observer is counted, and the exchange goes on without it."""
    interceptor, routes = stage.interceptor, stage.routes

    async def call(exchange: Exchange) -> Response:
        if routes is not None and exchange.route not in routes:
            return await inner(exchange)
        answer: Response | None = None
        asked = False

        async def inner_once(asked_for: Exchange) -> Response:
            nonlocal answer, asked
            asked = True
            answer = await inner(asked_for)
            return answer

        try:
            return await interceptor(exchange, inner_once)
        except ProxyError as error:  # one that the observer means for the client
            return _answer(exchange, error)
        except Exception:
            if asked and answer is None:
                raise
            on_failure(stage.name)
            return answer if answer is not None else await inner(exchange)

    return call
