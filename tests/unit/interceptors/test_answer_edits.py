"""Changes to what a model server said, in whichever way it comes."""

import gzip
import json
from typing import Any

import pytest

from proxy.core.errors import AnswerNotEditable, ChangeRefused
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.ledger import Ledger
from proxy.interceptors.answers import edit_answer
from tests.unit.interceptors.alone import chunked

JSON = [(b"content-type", b"application/json")]


def upper(answer: dict[str, Any]) -> None:
    answer["text"] = answer["text"].upper()


def edited(body: bytes, headers: list[tuple[bytes, bytes]] | None = None, size: int = 3) -> Response:
    """An answer that was asked for as a stream, and is none."""
    response = Response(200, headers or JSON, chunked(body, size))
    edit_answer(response, name="upper", whole=upper, events=pytest.fail, why="asked")
    return response


async def test_a_document_that_answers_a_request_for_a_stream_is_changed_too() -> None:
    assert json.loads(await edited(b'{"text": "abc"}').read()) == {"text": "ABC"}


async def test_a_compressed_one_too() -> None:
    body = gzip.compress(b'{"text": "abc"}')
    response = edited(body, [*JSON, (b"content-encoding", b"gzip")])
    assert json.loads(await response.read()) == {"text": "ABC"}
    assert response.headers == JSON


async def test_its_changes_are_in_the_ledger() -> None:
    exchange = Exchange(Request("POST", b"/v1/completions", b"", [], Payload(b"{}")), route="completions")
    ledger = Ledger(exchange.request)
    response = Response(200, JSON, chunked(b'{"text": "abc"}', 4))
    ledger.begin_answer(response)
    edit_answer(response, name="upper", whole=upper, events=pytest.fail, why="asked")
    ledger.note_answer("upper", response)
    await response.read()
    [change] = ledger.changes
    assert (change.interceptor, change.field, change.why) == ("upper", "text", "asked")
    assert (change.what.before, change.what.after) == ("abc", "ABC")


async def test_strict_refuses_the_change() -> None:
    response = edited(b'{"text": "abc"}')
    response.stream().forbid_changes("upper")
    with pytest.raises(ChangeRefused):
        await response.read()


async def test_what_cannot_be_written_again_is_refused() -> None:
    with pytest.raises(AnswerNotEditable):
        await edited(b'{"text": "abc", "score": NaN}').read()


@pytest.mark.parametrize(
    "body", [b'{"error": {"message": "no"}}', b'{"text": "cut', b"[1]", b"", b"  \n plain text", b"data: {}\n\n"]
)
async def test_errors_and_what_is_no_object_pass_as_they_are(body: bytes) -> None:
    assert await edited(body).read() == body


async def test_what_is_no_object_is_not_held_back() -> None:
    stream = edited(b"  event stream without its type", size=8).stream()
    assert await anext(stream) == b"  event "
    await stream.aclose()
