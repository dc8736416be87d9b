import json

import pytest

from proxy.wire import routes
from proxy.wire.complete import is_complete

ROUTES = pytest.mark.parametrize("route", [routes.CHAT, routes.COMPLETIONS])
DONE = b"data: [DONE]\n\n"


def choice(index=0, reason="stop", **more):
    """A choice of both routes."""
    return {"index": index, "message": {"content": "x"}, "text": "x", "finish_reason": reason, **more}


def chunk(index=0, reason=None, **more):
    return {"choices": [piece(index, reason)], **more}


def piece(index=0, reason=None, **more):
    """A piece of a choice of both routes."""
    return {"index": index, "delta": {"content": "x"}, "text": "x", "finish_reason": reason, **more}


def bare(entry, *names):
    return {name: value for name, value in entry.items() if name not in names}


PASSED = {"hate": {"filtered": False, "severity": "safe"}, "error": None, "lists": [{"id": "a", "filtered": False}]}
FILTERED = [
    {"hate": {"filtered": True, "severity": "high"}},
    {**PASSED, "custom_blocklists": [{"id": "a", "filtered": True}]},
    {"custom_blocklists": {"filtered": True, "details": []}},
]


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
        ({"choices": [choice(content_filter_results=PASSED)]}, {}),
        ({"choices": [choice(content_filter_results=None, text="")]}, {}),
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
        ({"choices": [bare(choice(), "message", "text")]}, {}),
        ({"choices": [choice(message=None, text=None)]}, {}),
        ({"choices": [choice(message="x", text={"content": "x"})]}, {}),
        ({"choices": [choice(0), bare(choice(1), "message", "text")]}, {"n": 2}),
        *(({"choices": [choice(content_filter_results=results)]}, {}) for results in FILTERED),
    ],
)
def test_incomplete_answers(route, answer, request_):
    assert not is_complete(route, request_, json.dumps(answer).encode(), streamed=False)


@pytest.mark.parametrize(
    ("route", "needed", "piece_"),
    [(routes.CHAT, "message", "delta"), (routes.COMPLETIONS, "text", "text")],
)
def test_a_choice_needs_what_its_route_calls_its_answer(route, needed, piece_):
    others = {"message", "text", "delta"}
    for name in others:
        plain = json.dumps({"choices": [bare(choice(), *others - {name})]}).encode()
        assert is_complete(route, {}, plain, streamed=False) is (name == needed)
        body = sse({"choices": [bare(piece(reason="stop"), *others - {name})]})
        assert is_complete(route, {}, body, streamed=True) is (name == piece_)


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
        (sse({"choices": [{"delta": {}, "text": "", "finish_reason": "stop"}]}), {}),
        (sse(chunk(), {"choices": [{"finish_reason": "stop"}]}), {}),
        (sse({"choices": [piece(reason="stop", content_filter_results=PASSED)]}), {}),
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
        (sse({"choices": [{"index": 0, "finish_reason": "stop"}]}), {}),
        (sse({"choices": [piece(reason="stop", delta=None, text=None)]}), {}),
        (sse(chunk(0, "stop"), {"choices": [{"index": 1, "finish_reason": "stop"}]}), {"n": 2}),
        *(
            (sse({"choices": [piece(content_filter_results=results)]}, chunk(reason="stop")), {})
            for results in FILTERED
        ),
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
