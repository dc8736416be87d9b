"""Several choices of a model server that gives one at a time: as many requests, and their answers as one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.core.errors import AnswerNotEditable, RequestError, UpstreamIncomplete
from proxy.core.facts import CacheFacts
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Next
from proxy.core.stream import ByteStream, StreamChange
from proxy.interceptors.answers import edit_answer, readable_body, readable_stream
from proxy.wire.joining import JoinedStreams, join
from proxy.wire.sse import is_event_stream

_WHY = "the answers of one request for each choice, joined"
_JOINED = (
    "choices[]",
    "choices[].index",
    "usage.completion_tokens",
    "usage.total_tokens",
    "usage.completion_tokens_details.reasoning_tokens",
)
_FROM_CACHE = frozenset({"hit", "coalesced"})

Calls = Sequence[asyncio.Task[Response]]


async def fan_out(exchanges: Sequence[Exchange], call_next: Next, *, name: str, streamed: bool) -> Response:
    """Ask for each choice and return one answer with all of them; the first refusal, as it is, where one is refused.

    A stream begins with the first answer that does. What is refused after that breaks it.

    Args:
        exchanges: the client's, then forks of it that end with it; each asks for one choice.
        call_next: asks on.
        name: the interceptor's, for errors and the ledger.
        streamed: whether they ask for streams.
    """
    tasks = [asyncio.ensure_future(call_next(exchange)) for exchange in exchanges]
    joined: Response | None = None
    try:
        refused = await _refusal(tasks, until_first=streamed)
        for other in exchanges[1:]:
            exchanges[0].ledger.join(other.ledger)
        if refused is not None:
            return refused
        first = next((task.result() for task in tasks if task.done() and _is_stream(task.result())), None)
        if streamed and first is not None:
            joined = _joined_streams(first, tasks, name=name)
        else:
            joined = await _joined(exchanges[0], [task.result() for task in tasks], name=name)
        _tell_cache(exchanges)
        return joined
    finally:
        if joined is None:
            await _give_up(tasks)


async def _refusal(tasks: Calls, *, until_first: bool) -> Response | None:
    """Wait for all answers, or with `until_first` for a stream to begin; return the first that is no success."""
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        answers = [task.result() for task in tasks if task in done]
        for answer in answers:
            if not 200 <= answer.status < 300:
                return answer
        if until_first and any(map(_is_stream, answers)):
            break
    return None


def _is_stream(answer: Response) -> bool:
    return is_event_stream(answer.headers)


async def _give_up(tasks: Calls) -> None:
    """Cancel what is still asked, and let go what was answered; the one answer that is passed on must be plain."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Response) and 200 <= outcome.status < 300:
            await outcome.aclose()


def _tell_cache(exchanges: Sequence[Exchange]) -> None:
    """Say of the whole that it is from the cache only where every part that is known is."""
    told = [facts for exchange in exchanges if (facts := exchange.get(CacheFacts)) is not None]
    asked = next((facts for facts in told if facts.status not in _FROM_CACHE), None)
    if asked is not None:
        exchanges[0].put(asked)


async def _joined(exchange: Exchange, answers: Sequence[Response], *, name: str) -> Response:
    for answer in answers:
        await answer.read()  # where a stream was asked for, a plain answer comes in chunks, too
    documents = [_document(answer) for answer in answers[1:]]
    for field in _JOINED:
        exchange.ledger.explain(field, _WHY)
    done = False

    def put_together(answer: dict[str, Any]) -> None:
        nonlocal done
        join(answer, documents)
        done = True

    try:
        edit_answer(answers[0], name=name, whole=put_together, events=_no_stream)
    except ValueError as error:
        raise AnswerNotEditable(f"the answers for each choice cannot be joined: {error}") from None
    if not done:
        raise AnswerNotEditable("the answers for each choice cannot be joined: one is not a JSON object, or an error")
    return answers[0]


def _no_stream() -> Any:
    raise AssertionError("only plain answers get here")


def _document(answer: Response) -> Mapping[str, Any]:
    try:
        return readable_body(answer).json
    except RequestError as error:
        raise AnswerNotEditable(f"the answers for each choice cannot be joined: {error.message}") from None


def _joined_streams(first: Response, tasks: Calls, *, name: str) -> Response:
    streams = JoinedStreams(len(tasks), _WHY)
    source = _Interleaved(tasks, streams, name)
    body = ByteStream(source, source.aclose)
    body.map(_Told(streams), name=name)
    headers = [item for item in first.headers if item[0].lower() not in {b"content-encoding", b"content-length"}]
    return Response(first.status, headers, body)


class _Told:
    """A transform that changes nothing, and tells what joining did."""

    def __init__(self, streams: JoinedStreams) -> None:
        self._streams = streams

    @property
    def changes(self) -> list[StreamChange]:
        return self._streams.changes

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""


class _Interleaved:
    """The events of several streams as they come. Each stream waits while the client has not taken its last event."""

    def __init__(self, tasks: Calls, streams: JoinedStreams, name: str) -> None:
        self._tasks = tasks
        self._streams = streams
        self._name = name
        self._ready: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(maxsize=1)
        self._open = len(tasks)
        self._pumps = [asyncio.ensure_future(self._pump(place)) for place in range(len(tasks))]

    def __aiter__(self) -> _Interleaved:
        return self

    async def __anext__(self) -> bytes:
        while self._open:
            item = await self._ready.get()
            if isinstance(item, Exception):
                raise item
            if item is not None:
                return item
            self._open -= 1
            if not self._open:
                end = self._streams.finish()
                if end:
                    return end
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ask no further."""
        running = [*self._pumps, *self._tasks]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _pump(self, place: int) -> None:
        try:
            response = _stream_of(place, await self._tasks[place])
            async for chunk in readable_stream(response, name=self._name):
                await self._give(self._streams.feed(place, chunk))
            await self._give(self._streams.end(place))
            await self._ready.put(None)
        except Exception as error:  # noqa: BLE001 - it is raised where the stream is read
            await self._ready.put(error)

    async def _give(self, events: bytes) -> None:
        if events:
            await self._ready.put(events)


def _stream_of(place: int, response: Response) -> Response:
    """Return the answer for a choice; raises UpstreamIncomplete where it is not a stream as the others are."""
    if 200 <= response.status < 300 and _is_stream(response):
        return response
    raise UpstreamIncomplete(
        f"the request for choice {place} was answered with status {response.status} and no stream, others had begun"
    )
