"""Changes to what the model server said, whether it is one document or a stream of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.core.errors import AnswerNotEditable, NotEditable, RequestError
from proxy.core.http import Headers, Payload, Response, get_header, without_headers
from proxy.core.stream import CONFIGURED
from proxy.wire.edits import Editor, EventEdits
from proxy.wire.encoding import Inflater, decode
from proxy.wire.sse import is_event_stream

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
    encoding = get_header(response.headers, _ENCODING)
    encoded = encoding is not None and encoding.strip().lower() != b"identity"
    if is_event_stream(response.headers):
        stream = response.stream()
        if encoded:
            assert encoding is not None
            stream.map(Inflater(encoding), name=name)
            response.headers = _plain(response.headers)
        stream.map(EventEdits(events(), why=why), name=name)
    elif isinstance(response.body, Payload):
        body = response.body
        if encoded:
            raw = decode(body.raw, encoding)
            if raw is None:
                raise AnswerNotEditable("the answer's content encoding cannot be taken off")
            body = response.body = Payload(raw)
            response.headers = _plain(response.headers)
        _edit(body, whole)


def _edit(body: Payload, change: Callable[[dict[str, Any]], None]) -> None:
    try:
        answer = body.json
    except RequestError:  # no JSON object: nothing of it is known
        return
    if answer.get("error") is not None:
        return
    try:
        change(body.edit())
    except NotEditable:
        raise AnswerNotEditable("the answer is JSON that not every parser reads the same") from None


def _plain(headers: Headers) -> Headers:
    return without_headers(headers, frozenset({_ENCODING}))
