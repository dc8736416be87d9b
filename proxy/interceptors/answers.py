"""Changes to what the model server said, whether it is one document or a stream of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.core.difference import differences, snapshot
from proxy.core.errors import AnswerNotEditable, NotEditable, RequestError
from proxy.core.http import Headers, Payload, Response, get_header, without_headers
from proxy.core.stream import CONFIGURED, ByteStream, StreamChange, StreamTransform
from proxy.interceptors.undeclared import ByItsBeginning
from proxy.wire.edits import Editor, EventEdits
from proxy.wire.encoding import Inflater, decode
from proxy.wire.sse import begins_as_events, is_event_stream

_ENCODING = b"content-encoding"


def edit_answer(
    response: Response,
    *,
    name: str,
    whole: Callable[[dict[str, Any]], None],
    events: Callable[[], Editor],
    why: str = CONFIGURED,
) -> None:
    """Change a successful answer: a document now, the events of a stream as they come. Others are left alone.

    What is a stream is told by its beginning where the content type says something else.

    Args:
        response: the answer; hits of the cache are whole even where they are streams.
        name: the interceptor's, for errors and the ledger.
        whole: changes a plain answer in place.
        events: makes what changes one stream.
        why: the reason that the ledger gets for changes to a stream.

    Raises:
        AnswerNotEditable: it cannot be read, or not be written again without changing more than that.
    """
    if not 200 <= response.status < 300:
        return
    if isinstance(response.body, Payload) and not is_events(response):
        _edit(readable_body(response), whole)
    else:
        map_events(response, lambda: EventEdits(events(), why=why), lambda: _DocumentEdit(whole, why), name=name)


def is_events(response: Response) -> bool:
    """Return whether a whole answer is a stream of events, or one that is still coming says so. It stays as it is."""
    if is_event_stream(response.headers):
        return True
    if not isinstance(response.body, Payload):
        return False
    return begins_as_events(decode(response.body.raw, _encoding(response)) or b"") is True


def map_events(
    response: Response,
    events: Callable[[], StreamTransform],
    document: Callable[[], StreamTransform],
    *,
    name: str,
) -> None:
    """Have the answer changed by what `events` makes if it is a stream of events, else by what `document` makes."""
    change = events() if is_events(response) else ByItsBeginning(document=document, events=events)
    readable_stream(response, name=name).map(change, name=name)


class _DocumentEdit:
    """A transform of a document that comes in chunks: it holds all of them, as one is read at its last byte.

    What is no JSON object from its first character on passes as it comes: nothing of it is known.
    """

    def __init__(self, change: Callable[[dict[str, Any]], None], why: str) -> None:
        self._change = change
        self._why = why
        self._chunks: list[bytes] = []
        self._passes = False
        self.changes: list[StreamChange] = []

    def feed(self, chunk: bytes) -> bytes:
        if not self._chunks:
            self._passes = self._passes or chunk.lstrip()[:1] not in {b"", b"{"}
        if self._passes:
            return chunk
        self._chunks.append(chunk)
        return b""

    def end(self) -> bytes:
        body = Payload(b"".join(self._chunks))
        _edit(body, self._change)
        self.changes = [StreamChange(what, self._why) for what in body.differences()]
        return body.raw


def readable_stream(response: Response, *, name: str) -> ByteStream:
    """Return the body as a stream without content encoding; `name` is that of the interceptor which takes it off."""
    stream, encoding = response.stream(), _encoding(response)
    if encoding is not None:
        stream.map(Inflater(encoding), name=name)
        response.headers = _plain(response.headers)
    return stream


def readable_body(response: Response) -> Payload:
    """Return the complete body without content encoding.

    Raises:
        AnswerNotEditable: the encoding cannot be taken off.
    """
    assert isinstance(response.body, Payload)
    encoding = _encoding(response)
    if encoding is not None:
        raw = decode(response.body.raw, encoding)
        if raw is None:
            raise AnswerNotEditable("the answer's content encoding cannot be taken off")
        response.body = Payload(raw)
        response.headers = _plain(response.headers)
    return response.body


def _encoding(response: Response) -> bytes | None:
    encoding = get_header(response.headers, _ENCODING)
    return None if encoding is None or encoding.strip().lower() == b"identity" else encoding


def _edit(body: Payload, change: Callable[[dict[str, Any]], None]) -> None:
    try:
        answer = body.json
    except RequestError:  # no JSON object: nothing of it is known
        return
    if answer.get("error") is not None:
        return
    if not body.exact:
        tried = snapshot(answer)
        change(tried)
        if differences(answer, tried):
            raise AnswerNotEditable("the answer is JSON that not every parser reads the same")
        return  # it could not be written again, and need not be
    try:
        change(body.edit())
    except NotEditable as error:
        raise AnswerNotEditable(f"the answer cannot be written again: {error}") from None


def _plain(headers: Headers) -> Headers:
    return without_headers(headers, frozenset({_ENCODING}))
