"""Changes to what a model server said, in whichever way it comes."""

import gzip
import json
from typing import Any

import pytest

from proxy.core.errors import AnswerNotEditable, ChangeRefused
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.core.ledger import Ledger
from proxy.interceptors.answers import edit_answer, is_events
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
    "body", [b'{"text": "ABC", "score": NaN}', b'{"text": "A", "text": "ABC"}', b'{"text": "\\ud800"}']
)
async def test_what_cannot_be_written_again_passes_where_nothing_is_to_be_changed(body: bytes) -> None:
    assert await edited(body).read() == body


@pytest.mark.parametrize(
    "body", [b'{"error": {"message": "no"}}', b'{"text": "cut', b"[1]", b"", b"  \n plain text", b"dat"]
)
async def test_errors_and_what_is_no_object_pass_as_they_are(body: bytes) -> None:
    assert await edited(body).read() == body


async def test_what_is_no_object_is_not_held_back() -> None:
    stream = edited(b"  plain text", size=8).stream()
    assert await anext(stream) == b"  plain "
    await stream.aclose()


class Upper:
    def edit(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        upper(document)
        return [document]

    def end(self) -> list[dict[str, Any]]:
        return []


def no_document(document: dict[str, Any]) -> None:
    pytest.fail(f"it was taken for one document: {document}")


EVENTS = b'data: {"text": "abc"}\n\ndata: [DONE]\n\n'
CHANGED = b'data: {"text":"ABC"}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("declared", [b"application/json", b"text/plain", None])
@pytest.mark.parametrize("size", [1, 3, 1000, None], ids=["1", "3", "1000", "whole"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b": comment\n\n", b"\r\n", b"event: x\nid: 1\nretry: 1\n"])
async def test_events_under_another_content_type_are_changed_as_they_come(declared, size, before) -> None:
    headers = [] if declared is None else [(b"content-type", declared)]
    body = chunked(before + EVENTS, size) if size is not None else Payload(before + EVENTS)
    response = Response(200, headers, body)
    edit_answer(response, name="upper", whole=no_document, events=Upper)
    assert await response.read() == before.removeprefix(b"\xef\xbb\xbf") + CHANGED  # it means nothing
    assert response.headers == headers


async def test_compressed_events_under_another_content_type_are_changed_too() -> None:
    headers = [*JSON, (b"content-encoding", b"gzip")]
    for body in (chunked(gzip.compress(EVENTS), 5), Payload(gzip.compress(EVENTS))):
        response = Response(200, headers, body)
        edit_answer(response, name="upper", whole=no_document, events=Upper)
        assert await response.read() == CHANGED


async def test_the_first_event_under_another_content_type_is_not_held_back() -> None:
    response = Response(200, JSON, chunked(EVENTS, EVENTS.index(b"\n\n") + 2))
    edit_answer(response, name="upper", whole=no_document, events=Upper)
    stream = response.stream()
    assert await anext(stream) == b'data: {"text":"ABC"}\n\n'
    await stream.aclose()


@pytest.mark.parametrize("encoding", [b"gzip", b"br"])
@pytest.mark.parametrize("body", [b'{"text": "abc"}', EVENTS])
def test_an_answer_stays_as_it_is_when_it_is_only_looked_at(encoding, body) -> None:
    packed = Payload(gzip.compress(body))
    response = Response(200, [*JSON, (b"content-encoding", encoding)], packed)
    assert is_events(response) is (encoding == b"gzip" and body is EVENTS)
    assert response.body is packed
    assert response.headers == [*JSON, (b"content-encoding", encoding)]
