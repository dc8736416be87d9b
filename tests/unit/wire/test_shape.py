import json
from typing import Any

import pytest

from proxy.core.document import encode
from proxy.wire import routes
from proxy.wire.shape import PLAIN, STREAM, converted, shape_of, with_usage


@pytest.mark.parametrize("document", [{}, {"stream": False}, {"stream": None}, {"stream_options": None}])
def test_a_plain_request(document):
    assert shape_of(document) == PLAIN


@pytest.mark.parametrize("options", [{}, {"stream_options": {}}, {"stream_options": None}])
def test_a_stream_without_options(options):
    assert shape_of({"stream": True, **options}) == "sse"


def test_the_order_of_stream_options_is_ignored():
    first = shape_of({"stream": True, "stream_options": {"include_usage": True, "a": 1}})
    assert first == shape_of({"stream": True, "stream_options": {"a": 1, "include_usage": True}})


def test_everything_that_can_change_what_comes_back_is_a_shape_of_its_own():
    documents: list[dict[str, Any]] = [
        {},
        {"stream": True},
        {"stream": 1},
        {"stream": "true"},
        {"stream": {"a": 1}},
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": False}},
        {"stream": True, "stream_options": [1]},
    ]
    assert len({shape_of(document) for document in documents}) == len(documents)


def stream(*chunks):
    return b"".join(b"data: " + encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


ENVELOPE = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
START = {**ENVELOPE, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None}]}
END = {**ENVELOPE, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {**ENVELOPE, "choices": [], "usage": {"total_tokens": 3}}
ANSWER: dict[str, Any] = {
    **ENVELOPE,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
    "usage": {"total_tokens": 3},
}
BODIES = {
    "plain": encode(ANSWER),
    "sse": stream(START, END),
    'sse{"include_usage":false}': stream(START, END),
    'sse{"include_usage":true}': stream({**START, "usage": None}, {**END, "usage": None}, USAGE),
}
WITHOUT_USAGE = [name for name in BODIES if name.startswith("sse") and "true" not in name]


@pytest.mark.parametrize("have", BODIES)
@pytest.mark.parametrize("want", BODIES)
def test_a_record_serves_another_shape_exactly_if_it_has_all_of_it(have, want):
    body = converted(routes.CHAT, BODIES[have], have=have, want=want)
    if have in WITHOUT_USAGE and want not in WITHOUT_USAGE:
        assert body is None
    elif want == "plain":
        assert body is not None
        assert json.loads(body) == ANSWER
    else:
        assert body == BODIES[want]


def test_numbers_stay_as_they_are_written():
    odd = b'{"a":1e400,"b":18446744073709551616,"c":-0.0,"d":1.50}'
    plain = BODIES["plain"].replace(b'{"total_tokens":3}', odd)
    there = converted(routes.CHAT, plain, have="plain", want='sse{"include_usage":true}')
    assert there is not None
    assert there.count(odd) == 1
    back = converted(routes.CHAT, there, have='sse{"include_usage":true}', want="plain")
    assert back is not None
    assert odd in back


@pytest.mark.parametrize("route", [routes.RESPONSES, routes.MESSAGES])
def test_routes_without_a_usage_chunk_have_no_options_that_convert(route):
    body = encode({"id": "m", "type": "message", "content": [], "stop_reason": "end_turn",
                   "usage": {"input_tokens": 1, "output_tokens": 2}, "status": "completed", "output": []})  # fmt: skip
    there = converted(route, body, have="plain", want="sse")
    assert there is not None
    back = converted(route, there, have="sse", want="plain")
    assert back is not None
    assert json.loads(back) == json.loads(body)
    for options in ('{"include_usage":true}', '{"include_usage":false}', '{"include_obfuscation":false}'):
        assert converted(route, body, have="plain", want="sse" + options) is None
        assert converted(route, there, have="sse" + options, want="sse") is None


ODD = [
    "stream=1",
    'stream="true"',
    'plain{"include_usage":true}',
    "sse[1]",
    'sse{"include_usage":1}',
    'sse{"include_usage":null}',
    'sse{"continuous_usage_stats":true,"include_usage":true}',
    'sse{"include_obfuscation":false}',
    'sse{"x":1}',
    "sse{",
    'sse{"x":NaN}',
    "",
]


@pytest.mark.parametrize("odd", ODD)
def test_a_shape_that_is_not_known_is_never_converted(odd):
    for known, body in BODIES.items():
        assert converted(routes.CHAT, body, have=known, want=odd) is None
        assert converted(routes.CHAT, body, have=odd, want=known) is None


def test_streams_of_the_same_other_options_are_made_of_each_other():
    have, want = 'sse{"include_usage":true,"x":1}', 'sse{"x":1}'
    assert converted(routes.CHAT, BODIES['sse{"include_usage":true}'], have=have, want=want) == BODIES["sse"]


@pytest.mark.parametrize("route", sorted(set(routes.PIPELINE.values()) - routes.GENERATION))
def test_a_route_without_streams_is_never_converted(route):
    for want in BODIES:
        assert converted(route, BODIES["plain"], have="plain", want=want) is None


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"{}", b"data: x\n\n", b"data: {}\n\n", b"data: 1\n\ndata: [DONE]\n\n"]
)
@pytest.mark.parametrize("route", sorted(routes.GENERATION))
def test_what_is_malformed_is_a_miss(route, body):
    assert converted(route, body, have="plain", want="sse") is None
    assert converted(route, body, have="sse", want="plain") is None


def test_an_answer_that_a_stream_cannot_hold_is_a_miss():
    for broken in ({**ANSWER, "object": "other"}, {**ANSWER, "choices": [*ANSWER["choices"]] * 2}):
        assert converted(routes.CHAT, encode(broken), have="plain", want="sse") is None


@pytest.mark.parametrize(
    ("shape", "shown"),
    [(STREAM, 'sse{"include_usage":true}'), (PLAIN, PLAIN), ('sse{"other":1}', 'sse{"other":1}')],
)
def test_a_stream_without_options_may_show_usage_all_the_same(shape, shown):
    assert with_usage(shape) == shown
