import json
import re

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.store.base import KeySource, sample_pool
from proxy.store.bundle.entry import pair, read_line, write_line
from proxy.wire import routes
from proxy.wire.key import canonical
from tests.unit.store.bundle.making import fields, lines_of
from tests.unit.store.bundle_data import EVENTS, IDENTITY, JSON, RECEIVED, answer

SOURCE = KeySource(IDENTITY, "POST", "/v1/chat/completions", "", [])
POOL = sample_pool("one", RECEIVED)


def line(**changes: object) -> bytes:
    """The line of a good answer with some fields replaced; those of `source` by name."""
    fields = json.loads(write_line(*answer()))
    for name, value in changes.items():
        holder = fields["source"] if name in fields["source"] and name != "headers" else fields
        holder[name] = value
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def of(request: bytes) -> bytes:
    """The line of an answer whose key is right for `request`."""
    return write_line(*answer(request=request))


@pytest.mark.parametrize(
    "kept",
    [
        answer(),
        answer("é ☃"),
        answer(shape="sse"),
        answer(shape='sse{"include_usage":true}'),
        answer(shape='plain{"include_usage":true}'),
        answer(pool=POOL, sample=7),
        answer(shape="sse", body=b": \xff\n\n" + answer(shape="sse")[1].body),
        answer(headers=[(b"Content-Type", b"application/json"), (b"x", b"\xe9"), (b"x", b"")]),
        answer(source=KeySource(IDENTITY, "POST", "/v1/chat/completions", "a=b", [("openai-beta", "1")])),
        answer(request=canonical({"n": 1, "temperature": 0, "seed": 2**70})),
        answer(
            request=canonical({"input": "a"}),
            source=KeySource(IDENTITY, "POST", "/v1/embeddings", "", []),
            route="embeddings",
            body=b'{"data":[{"embedding":[1.0]}]}',
        ),
    ],
)
def test_an_answer_comes_back_as_it_was(kept):
    at, response = read_line(write_line(*kept))
    assert at == kept[0]
    assert (response.headers, response.body, response.request, response.source) == (
        kept[1].headers,
        kept[1].body,
        kept[1].request,
        kept[1].source,
    )
    assert (response.status, response.route, response.upstream_ms, response.created_at) == (
        200,
        kept[1].route,
        kept[1].upstream_ms,
        kept[1].created_at,
    )


def test_the_prompt_is_taken_anew():
    kept = answer("something")
    assert read_line(write_line(*kept))[1].prompt == kept[1].prompt


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "Input should be"),
        (b'{"a":"\xff"}', "Invalid JSON"),
        (line(surprise=1), "field 'surprise' is 1"),
        (line(status=404), "field 'status' is 404"),
        (line(status="200"), "field 'status' is '200'"),
        (line(key="0" * 63), "field 'key'"),
        (line(key="0" * 64), "field 'key' is 0000.*, which is not the key of its request"),
        (line(identity="another"), "field 'key' is .*, which is not the key of its request"),
        (line(identity=""), "field 'source.identity'"),
        (line(method="GET"), "field 'source.method' is 'GET'"),
        (line(path="/v1/models"), "field 'route' is 'chat', which is not that of '/v1/models'"),
        (line(route="completions"), "field 'route' is 'completions'"),
        (line(path="/v1/chat\nx"), "field 'source.path'"),
        (line(query="a b"), "field 'source.query'"),
        (line(path="/☃"), "field 'source.path'"),
        (line(pool="one"), "field 'pool' is 'one', which is not a sequence of a named run"),
        (line(pool="../x/" + RECEIVED), "field 'pool'"),
        (line(pool="one/XYZ"), "field 'pool'"),
        (line(sample=1), "field 'sample' is 1: a deterministic answer has the index 0"),
        (line(sample=-1), "field 'sample' is -1"),
        (line(sample=2**31), "field 'sample'"),
        (line(sample=True), "field 'sample' is True"),
        (line(created_at=-1.0), "field 'created_at'"),
        (line(created_at=None), "field 'created_at'"),
        (line(upstream_ms=-0.5), "field 'upstream_ms'"),
        (line(shape="sse"), "field 'shape' is 'sse', which its content-type contradicts"),
        (line(shape="ssex"), "field 'shape' is 'ssex', which is no shape"),
        (line(shape='plain{"b":1,"a":2}'), "field 'shape'"),
        (line(shape="plain{}"), "field 'shape'"),
        (line(shape="plain{"), "field|Expecting"),
        (line(body='{"choices":[]}'), "field 'body' is not a complete answer"),
        (line(body={"base64": "?"}), "field 'body' is not what it says"),
        (line(body={"base64": "", "x": 1}), "field 'body"),
        (line(headers=[["set-cookie", "a=b"]]), "field 'headers' has 'set-cookie'"),
        (line(headers=[["Transfer-Encoding", "chunked"]]), "field 'headers' has 'Transfer-Encoding'"),
        (line(headers=[["content-length", "1"]]), "field 'headers' has 'content-length'"),
        (line(headers=[["X-Evalside-Cache", "hit"]]), "field 'headers' has 'X-Evalside-Cache'"),
        (line(headers=[["x", "a\r\nset-cookie: b"]]), "field 'headers' has 'x', which is not a header"),
        (line(headers=[["x y", "a"]]), "field 'headers' has 'x y'"),
        (line(headers=[["x", "☃"]]), "field 'headers' has '☃', which no header can carry"),
        (line(headers=[["x"]]), "field 'headers"),
        (line(request="{"), "field 'request' is not JSON"),
        (line(request="[]"), "field 'request' is not the canonical form"),
        (line(request='{"b":1,"a":2}'), "field 'request' is not the canonical form"),
        (line(request='{"a":NaN}'), "field 'request' is not the canonical form"),
        (of(b'{"temperature":1e-7}'), "field 'pool' is empty, and the request is sampled"),
        (of(b"{}"), "field 'pool' is empty, and the request is sampled"),
        (of(b'{"n":2,"temperature":0}'), "field 'body' is not a complete answer"),
        (json.dumps(json.loads(line())).encode(), "not in canonical form"),
        (line() + b" ", "not in canonical form"),
        (line(created_at=1000), "not in canonical form"),
        (line().replace(b'"status":200', b'"status":200,"status":200'), "not in canonical form"),
        (
            write_line(*answer(source=KeySource(IDENTITY, "POST", SOURCE.path, "", [("b", "1"), ("a", "1")]))),
            "'source.headers' is not sorted",
        ),
        (write_line(*answer(source=KeySource(IDENTITY, "POST", SOURCE.path, "", [("A", "1")]))), "in lower case"),
        (write_line(*answer(source=KeySource(IDENTITY, "POST", SOURCE.path, "", [("a", "1\n")]))), "in lower case"),
        (
            write_line(*answer(source=KeySource(IDENTITY, "POST", SOURCE.path, "", [("x-api-key", "1")]))),
            "'x-api-key', which holds a secret",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_field(raw, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_line(raw)
    assert "\n" not in str(caught.value)


def test_a_long_value_is_not_repeated_in_full():
    with pytest.raises(ValueError, match="field 'pool'") as caught:
        read_line(line(pool="x" * 10_000))
    assert len(str(caught.value)) < 200


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "data", "delta", "index", "finish_reason", "n", "prompt", "results", "type"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["choices", "data", "results", "output", "status", "content", "tokens", "type", "input", "n"]),
    JSON_VALUES,
)


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(sorted(routes.PIPELINE)), request=DOCUMENTS, body=DOCUMENTS, streamed=st.booleans())
def test_an_answer_of_any_form_is_good_or_refused(path, request, body, streamed):
    text = json.dumps(body).encode()
    try:
        raw = write_line(
            *answer(
                pool=POOL,
                shape="sse" if streamed else "plain",
                headers=EVENTS if streamed else JSON,
                request=canonical(request),
                source=KeySource(IDENTITY, "POST", path.decode(), "", []),
                route=routes.PIPELINE[path],
                body=b"data: " + text + b"\n\ndata: [DONE]\n\n" if streamed else text,
            )
        )
        at, _ = read_line(raw)
    except ValueError as error:
        assert re.match(r"field '[a-z]+|.*JSON", str(error))  # noqa: PT017 - either is right
    else:
        assert at.pool == POOL


def test_a_pair_keeps_what_is_no_json_as_text():
    at, response = answer(pool="default", request=b"not json", body=b"\xff", source=SOURCE)
    found = json.loads(pair(at, response))
    assert (found["request"], found["response"], found["run"]) == ("not json", {"base64": "/w=="}, "default")
    at, response = answer(body=b'{"a": NaN}')
    assert json.loads(pair(at, response))["response"] == '{"a": NaN}'


def test_it_lists_every_field_of_an_entry(made):
    assert set(fields("## entries.jsonl")) == json.loads(lines_of(made)[0]).keys()
