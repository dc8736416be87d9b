import json

import pytest

from proxy.wire import routes
from proxy.wire.complete import is_complete
from proxy.wire.messages import FINISHED

BLOCK = {"type": "text", "text": "x"}
STOP = {"type": "message_stop"}


def message(reason="end_turn", **more):
    return {"type": "message", "content": [BLOCK], "stop_reason": reason, **more}


def delta(reason="end_turn"):
    return {"type": "message_delta", "delta": {"stop_reason": reason}}


def sse(*chunks):
    return b"".join(
        b"event: " + str(item.get("type")).encode() + b"\ndata: " + json.dumps(item).encode() + b"\n\n"
        for item in chunks
    )


START = {"type": "message_start", "message": {"stop_reason": None}}
TEXT = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}


def opened(index=0):
    return {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}


def closed(index=0):
    return {"type": "content_block_stop", "index": index}


@pytest.mark.parametrize("reason", sorted(FINISHED))
def test_complete(reason):
    assert is_complete(routes.MESSAGES, {}, json.dumps(message(reason)).encode(), streamed=False)
    end = delta(reason), {"type": "message_delta", "delta": {}}, STOP
    stream = sse({"type": "ping"}, START, {"type": "ping"}, opened(), TEXT, closed(), opened(1), closed(1), *end)
    assert is_complete(routes.MESSAGES, {}, stream, streamed=True)


@pytest.mark.parametrize(
    "answer",
    [
        message(None),
        message("refusal"),
        message("pause_turn"),
        message(["end_turn"]),
        message(content=None),
        message(type="error"),
        message(error={"message": "x"}),
        {"type": "error", "error": {"type": "overloaded_error"}},
    ],
)
def test_incomplete_answers(answer):
    assert not is_complete(routes.MESSAGES, {}, json.dumps(answer).encode(), streamed=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        sse(START, TEXT, delta()),
        sse(START, TEXT, STOP),
        sse(START, TEXT, delta("refusal"), STOP),
        sse(START, TEXT, delta(None), STOP),
        sse(START, TEXT, {"type": "message_delta", "delta": "x"}, STOP),
        sse(START, {"type": "error", "error": {}}, delta(), STOP),
        sse(START) + b'data: {"type": "error"}\n\n' + sse(delta(), STOP),
        sse(START, delta(), STOP, TEXT),
        sse(START, delta(), STOP)[:-1],
        sse(START, delta(), STOP) + b"data: [DONE]\n\n",
        sse({"type": ["message_stop"]}),
        sse(STOP),
        sse({"type": "ping"}),
        sse(opened(), TEXT, closed(), delta(), STOP),
        sse(TEXT, START, delta(), STOP),
        sse(START, opened(), TEXT, delta(), STOP),
        sse(START, opened(), TEXT, closed(), opened(1), delta(), STOP),
        sse(START, opened(), TEXT, closed(1), delta(), STOP),
        sse(START, opened(), TEXT, closed(), closed(1), delta(), STOP),
    ],
)
def test_incomplete_streams(body):
    assert not is_complete(routes.MESSAGES, {}, body, streamed=True)
