import json

import pytest

from proxy.wire import routes
from proxy.wire.complete import is_complete

OUTPUT = [{"type": "message"}]
LIMIT = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}


def answer(status="completed", **more):
    return {"status": status, "output": OUTPUT, "error": None, **more}


def last(kind, response):
    return {"type": kind, "response": response}


def sse(*chunks):
    return b"".join(b"data: " + json.dumps(item).encode() + b"\n\n" for item in chunks)


CREATED = last("response.created", answer("in_progress", output=[]))
COMPLETED = last("response.completed", answer())


@pytest.mark.parametrize("response", [answer(), answer(**LIMIT)])
def test_complete_answers(response):
    assert is_complete(routes.RESPONSES, {}, json.dumps(response).encode(), streamed=False)


@pytest.mark.parametrize(
    "response",
    [
        {},
        answer("in_progress"),
        answer("queued"),
        answer("failed"),
        answer("cancelled"),
        answer(error={"message": "x"}),
        answer(output=[]),
        answer(output=None),
        answer("incomplete"),
        answer(**LIMIT, output=[]),
        answer("incomplete", incomplete_details={"reason": "content_filter"}),
        answer("incomplete", incomplete_details="max_output_tokens"),
    ],
)
def test_incomplete_answers(response):
    assert not is_complete(routes.RESPONSES, {}, json.dumps(response).encode(), streamed=False)
    assert not is_complete(routes.RESPONSES, {}, sse(CREATED, last("response.completed", response)), streamed=True)


@pytest.mark.parametrize(
    "body",
    [
        sse(CREATED, COMPLETED),
        sse(CREATED, COMPLETED) + b"data: [DONE]\n\n",
        sse(CREATED, last("response.incomplete", answer(**LIMIT))),
    ],
)
def test_complete_streams(body):
    assert is_complete(routes.RESPONSES, {}, body, streamed=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data: [DONE]\n\n",
        sse(CREATED),
        sse(CREATED) + b"data: [DONE]\n\n",
        sse(CREATED, last("response.failed", answer("failed"))),
        sse(last("response.failed", {}), COMPLETED),
        sse({"type": "error", "message": "x"}, COMPLETED),
        b"event: error\n" + sse({"message": "x"}, COMPLETED),
        sse(COMPLETED, CREATED),
        sse(last("response.done", answer())),
        sse(last(["response.completed"], answer())),
        sse(last("response.completed", None)),
        sse(CREATED, COMPLETED)[:-1],
        b"data: x\n\n" + sse(COMPLETED),
    ],
)
def test_incomplete_streams(body):
    assert not is_complete(routes.RESPONSES, {}, body, streamed=True)
