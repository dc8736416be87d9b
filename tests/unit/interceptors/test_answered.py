"""What observers see of an answer once it is over."""

import gzip

import pytest

from proxy.core.http import Payload, Response
from proxy.core.stream import Outcome
from proxy.interceptors.answered import Answered
from tests.unit.interceptors.alone import chunked

JSON = (b"content-type", b"application/json")
EVENTS = b'data: {"choices": []}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("size", [5, None])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("body", [b"{}", EVENTS], ids=["document", "events"])
async def test_events_under_another_content_type_are_a_stream(body: bytes, packed: bool, size: int | None) -> None:
    sent = gzip.compress(body) if packed else body
    headers = [JSON, (b"content-encoding", b"gzip")] if packed else [JSON]
    response = Response(200, headers, Payload(sent) if size is None else chunked(sent, size))
    seen: list[tuple[bool, bytes, Outcome]] = []
    response.tap(Answered(response, lambda answer, outcome: seen.append((answer.streamed, answer.body, outcome))))
    assert await response.read() == sent
    assert seen == [(body is EVENTS, body, Outcome.COMPLETE)]
