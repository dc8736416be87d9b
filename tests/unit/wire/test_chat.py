import json

import pytest

from proxy.wire import routes
from proxy.wire.complete import is_complete

ROUTES = pytest.mark.parametrize("route", [routes.CHAT, routes.COMPLETIONS])
DONE = b"data: [DONE]\n\n"


def choice(index=0, reason="stop", **more):
    return {"index": index, "message": {"content": "x"}, "finish_reason": reason, **more}


def chunk(index=0, reason=None, **more):
    return {"choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": reason}], **more}


def sse(*chunks, done=DONE):
    return b"".join(b"data: " + json.dumps(item).encode() + b"\n\n" for item in chunks) + done


@ROUTES
@pytest.mark.parametrize(
    ("answer", "request_"),
    [
        ({"choices": [choice()]}, {}),
        ({"choices": [choice()], "error": None}, {"n": 1}),
        ({"choices": [choice(reason="length")]}, {"max_tokens": 1}),
        ({"choices": [choice(reason="tool_calls")]}, {}),
        ({"choices": [choice(0), choice(1, "length")]}, {"n": 2}),
        ({"choices": [choice(0), choice(1)]}, {"prompt": ["a", "b"]}),
        ({"choices": [choice(i) for i in range(4)]}, {"prompt": [[1], [2]], "n": 2}),
    ],
)
def test_complete_answers(route, answer, request_):
    assert is_complete(route, request_, json.dumps(answer).encode(), streamed=False)


@ROUTES
@pytest.mark.parametrize(
    ("answer", "request_"),
    [
        ({}, {}),
        ({"choices": []}, {}),
        ({"choices": None}, {}),
        ({"choices": {"0": choice()}}, {}),
        ({"choices": ["x"]}, {}),
        ({"choices": [{"index": 0}]}, {}),
        ({"choices": [choice(reason=None)]}, {}),
        ({"choices": [choice(reason="content_filter")]}, {}),
        ({"choices": [choice(reason="abort")]}, {}),
        ({"choices": [choice(reason="error", error={"message": "x"})]}, {}),
        ({"choices": [choice()], "error": {"message": "x"}}, {}),
        ({"error": {"message": "x"}}, {}),
        ({"object": "error", "message": "x"}, {}),
        ({"choices": [choice()]}, {"n": 2}),
        ({"choices": [choice(0), choice(1, None)]}, {"n": 2}),
        ({"choices": [choice(0), choice(0)]}, {"n": 2}),
        ({"choices": [choice(0), choice(1)]}, {}),
        ({"choices": [choice()]}, {"prompt": ["a", "b"]}),
        ({"choices": [choice(i) for i in range(3)]}, {"prompt": ["a", "b"], "n": 2}),
        ({"choices": [choice("0")]}, {}),
        ({"choices": [choice([])]}, {}),
        ({"choices": [choice(None)]}, {}),
    ],
)
def test_incomplete_answers(route, answer, request_):
    assert not is_complete(route, request_, json.dumps(answer).encode(), streamed=False)


@ROUTES
@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (sse(chunk(), chunk(reason="stop")), {}),
        (b": ping\n\n" + sse(chunk(reason="length")), {}),
        (sse(chunk(), chunk(reason="stop")).replace(b"\n", b"\r\n"), {}),
        (sse(chunk(), chunk(reason="stop")).replace(b"\n", b"\r"), {}),
        (sse(chunk(0), chunk(1), chunk(1, "stop"), chunk(0, "length")), {"n": 2}),
        (sse(chunk(0, "stop"), chunk(1, "stop")), {"prompt": ["a", "b"]}),
        (sse(chunk(reason="stop"), {"choices": [], "usage": {"total_tokens": 3}}), {}),
        (sse(chunk(reason="stop", error=None), {"choices": None}, {"usage": {}}), {}),
        (sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}), {}),
        (sse(chunk(reason=""), chunk(reason="tool_calls")), {}),
    ],
)
def test_complete_streams(route, body, request_):
    assert is_complete(route, request_, body, streamed=True)


WHOLE = sse(chunk(), chunk(reason="stop"))


@ROUTES
@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (b"", {}),
        (DONE, {}),
        (sse(chunk(), chunk(reason="stop"), done=b""), {}),
        (sse(chunk()), {}),
        (sse(chunk(), chunk(reason="content_filter")), {}),
        (sse(chunk(reason="abort")), {}),
        (sse(chunk(reason="error"), chunk(reason="stop")), {}),
        (sse(chunk(0, "stop"), chunk(1)), {"n": 2}),
        (sse(chunk(0, "stop")), {"n": 2}),
        (sse(chunk(0, "stop"), chunk(1, "stop")), {}),
        (sse(chunk(0, "stop")), {"prompt": ["a", "b"]}),
        (sse(chunk(reason="stop"), {"error": {"message": "x"}}), {}),
        (sse(chunk(reason="stop"), {"object": "error", "message": "x"}), {}),
        (b"event: error\ndata: {}\n\n" + WHOLE, {}),
        (sse({"choices": []}), {}),
        (sse({"choices": [1]}), {}),
        (sse({"choices": [{"index": {}, "finish_reason": "stop"}]}), {}),
        (sse(["x"], chunk(reason="stop")), {}),
        (b"data: {cut\n\n" + WHOLE, {}),
        (WHOLE + sse(chunk(), done=b""), {}),
        (WHOLE + b"data: half", {}),
    ],
)
def test_incomplete_streams(route, body, request_):
    assert not is_complete(route, request_, body, streamed=True)


@ROUTES
def test_a_stream_cut_anywhere_is_incomplete(route):
    assert is_complete(route, {}, WHOLE, streamed=True)
    for length in range(len(WHOLE) - 1):
        assert not is_complete(route, {}, WHOLE[:length], streamed=True)
