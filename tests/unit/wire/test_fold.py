import re
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState

from proxy.core.document import encode, parse
from proxy.testing import ModelServer, Reply
from proxy.wire import routes
from proxy.wire.complete import is_complete
from proxy.wire.fold import folded, restyled, unfolded
from proxy.wire.fold_merge import Lossy, alike
from tests.unit.wire import answers

CAPTURES = Path(__file__).parents[4] / "shared" / "reference" / "captures"
ANSWERS = {
    routes.CHAT: answers.CHAT,
    routes.COMPLETIONS: answers.COMPLETION,
    routes.RESPONSES: answers.RESPONSE,
    routes.MESSAGES: answers.ANTHROPIC,
}
PATHS = {route: path.decode() for path, route in routes.PIPELINE.items()}
rich = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("route", ANSWERS)
@rich
@given(data=st.data())
def test_a_plain_answer_survives_as_a_stream(route, data):
    body = encode(data.draw(ANSWERS[route]))
    stream = unfolded(route, body, usage=True)
    assert alike(parse(folded(route, stream)).value, parse(body).value)


@pytest.mark.parametrize("route", ANSWERS)
@rich
@given(data=st.data())
def test_both_forms_are_complete(route, data):
    document = data.draw(ANSWERS[route])
    body = encode(document).replace(b"1e400", b"1e300")  # a number that `is_complete` does not read is never stored
    request = {"n": len(document.get("choices", "1"))}
    stream = unfolded(route, body, usage=True)
    assert is_complete(route, request, stream, streamed=True)
    assert is_complete(route, request, folded(route, stream), streamed=False)


@pytest.mark.parametrize("route", [routes.CHAT, routes.COMPLETIONS])
@rich
@given(data=st.data())
def test_usage_is_in_a_chunk_of_its_own_or_nowhere(route, data):
    body = encode(data.draw(ANSWERS[route]))
    asked, unasked = (unfolded(route, body, usage=usage) for usage in (True, False))
    *chunks, last = documents(asked)
    assert last["usage"] == parse(body).value["usage"]
    assert last["choices"] == []
    assert all(chunk["usage"] is None for chunk in chunks)
    assert not any("usage" in chunk for chunk in documents(unasked))
    assert alike(documents(restyled(asked, usage=False)), documents(unasked))
    with pytest.raises(Lossy):
        restyled(unasked, usage=True)
    with pytest.raises(Lossy):
        folded(route, unasked)


def documents(stream):
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n") if line.startswith(b"data: ")]
    return [parse(line).value for line in lines if line != b"[DONE]"]


def objects_in(value):
    """Every object in a value, itself included."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*([value] if isinstance(value, dict) else []), *(found for item in inside for found in objects_in(item))]


def marked(route, document):
    """The objects of an event in which a field would be news: those of a response's first events are only sketches."""
    if route == routes.RESPONSES:
        return [document, *objects_in(document.get("item") if document["type"].endswith("item.done") else None)]
    return objects_in(document)


@pytest.mark.parametrize("route", ANSWERS)
@rich
@given(data=st.data())
def test_nothing_that_a_stream_says_is_lost(route, data):
    events = unfolded(route, encode(data.draw(ANSWERS[route])), usage=True).split(b"\n\n")
    place = data.draw(st.integers(0, len(events) - 2).filter(lambda at: b"[DONE]" not in events[at]))
    name, _, line = events[place].rpartition(b"data: ")
    document = parse(line).value
    news = data.draw(st.sampled_from(["NEWS", ["NEWS"], {"NEWS": 1}]))
    data.draw(st.sampled_from(marked(route, document)))["unheard_of"] = news
    events[place] = name + b"data: " + encode(document)
    try:
        answer = folded(route, b"\n\n".join(events))
    except ValueError:
        return
    assert b"NEWS" in answer


@pytest.mark.parametrize("route", ANSWERS)
@rich
@given(data=st.data())
def test_whatever_is_wrong_is_a_value_error(route, data):
    body = encode(data.draw(ANSWERS[route]))
    stream = unfolded(route, body, usage=True)
    for whole, convert in (
        (stream, lambda broken: folded(route, broken)),
        (stream, lambda broken: restyled(broken, usage=data.draw(st.booleans()))),
        (body, lambda broken: unfolded(route, broken, usage=False)),
    ):
        values = [match.span() for match in re.finditer(rb'(?<=":)("[^"]*"|null|\[\]|\{\})|\{\}', whole)] or [(0, 0)]
        start, stop = data.draw(st.sampled_from(values))
        other = data.draw(st.sampled_from([b"5", b"null", b"[]", b"{}", b'"x"', b"[5]", b"true", b"[{}]"]))
        try:
            converted = convert(whole[:start] + other + whole[stop:])
        except ValueError:
            continue
        assert converted


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"{", b'{"choices":[{"index":0,"index":0}]}', b'{"a":NaN}', b"\xff", b"[" * 5000, b"{}"]
)
@pytest.mark.parametrize("route", ANSWERS)
def test_what_is_no_answer_is_refused(route, body):
    with pytest.raises(ValueError, match=r"."):
        unfolded(route, body, usage=False)
    with pytest.raises(ValueError, match=r"."):
        folded(route, b"data: " + body + b"\n\n")


@pytest.mark.parametrize("route", [routes.RESPONSES, routes.MESSAGES])
def test_an_event_is_what_its_data_say(route):
    named = {routes.RESPONSES: b"response.created", routes.MESSAGES: b"message_stop"}[route]
    whole = unfolded(route, encode(SMALL[route]), usage=False)
    assert folded(route, re.sub(rb"event: .*\n", b"", whole)) == folded(route, whole)
    for broken in (whole.replace(b"event: " + named, b"event: other"), whole + b"data: {}", whole.replace(named, b"x")):
        with pytest.raises(Lossy):
            folded(route, broken)


def test_events_with_names_are_no_chunks():
    stream = unfolded(routes.CHAT, encode(SMALL[routes.CHAT]), usage=True)
    with pytest.raises(Lossy):
        folded(routes.CHAT, b"event: a\n" + stream)


SMALL: dict[str, Any] = {
    routes.CHAT: {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "hé",
                    "refusal": None,
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}},
                    ],
                },
                "logprobs": {"content": [{"token": "hé", "logprob": -0.5, "bytes": [1], "top_logprobs": []}]},
                "finish_reason": "tool_calls",
            },
            {"index": 1, "message": {"role": "assistant", "content": "b"}, "logprobs": None, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    },
    routes.COMPLETIONS: {
        "id": "c",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "text": "ab", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    },
    routes.RESPONSES: {
        "id": "r",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "completed",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "output": [
            {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "hello", "annotations": []}],
            },
            {"id": "f", "call_id": "c", "type": "function_call", "name": "f", "arguments": "{}", "status": "completed"},
        ],
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
    },
    routes.MESSAGES: {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
}


@pytest.fixture(scope="module")
def server():
    with ModelServer(reasoning="Let me see. ") as running:
        yield running


@pytest.fixture
def sdk(server):
    """Make clients whose next request is answered with a stream."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:

        def answered_with(stream):
            server.enqueue(Reply(chunks=[stream]))
            return client

        yield answered_with


def test_the_sdk_puts_a_chat_stream_together(sdk):
    small = SMALL[routes.CHAT]
    stream = unfolded(routes.CHAT, encode(small), usage=True)
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in sdk(stream).chat.completions.create(model="m", messages=[], stream=True):
        state.handle_chunk(chunk)
    whole: Any = state.get_final_completion().to_dict(mode="json")
    choices = whole["choices"]
    assert whole["usage"] == small["usage"]
    for choice, expected in zip(choices, small["choices"], strict=True):
        assert choice["finish_reason"] == expected["finish_reason"]
        assert choice["message"]["content"] == expected["message"]["content"]
        calls = choice["message"].get("tool_calls") or []
        assert [(call["id"], call["function"]["arguments"]) for call in calls] == [
            (call["id"], call["function"]["arguments"]) for call in expected["message"].get("tool_calls", [])
        ]


def test_the_sdk_reads_a_completions_stream(sdk):
    stream = unfolded(routes.COMPLETIONS, encode(SMALL[routes.COMPLETIONS]), usage=True)
    chunks = list(sdk(stream).completions.create(model="m", prompt="", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "ab"
    assert chunks[-1].usage is not None


def test_the_sdk_puts_a_responses_stream_together(sdk):
    stream = unfolded(routes.RESPONSES, encode(SMALL[routes.RESPONSES]), usage=False)
    with sdk(stream).responses.stream(model="m", input="x") as events:
        kinds = [event.type for event in events]
        final = events.get_final_response()
    assert final.output_text == "hello"
    assert kinds.count("response.output_text.delta") == 1
    assert kinds.count("response.function_call_arguments.done") == 1


# -- streams of servers ------------------------------------------------------------------------------------------------

TOOL = {
    "type": "function",
    "name": "weather",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
PROMPTS: dict[str, dict[str, Any]] = {
    routes.CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    routes.COMPLETIONS: {"prompt": ["a b", "c"]},
    routes.RESPONSES: {"input": "hi"},
    routes.MESSAGES: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8},
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    (routes.CHAT, {"n": 2, "logprobs": True, "top_logprobs": 2}),
    (routes.CHAT, {"tools": [TOOL], "tool_choice": "required", "n": 2}),
    (routes.CHAT, {"max_tokens": 3}),
    (routes.COMPLETIONS, {"n": 2, "logprobs": 2, "echo": True}),
    (routes.COMPLETIONS, {"max_tokens": 2, "logprobs": 1}),
    (routes.RESPONSES, {}),
    (routes.RESPONSES, {"max_output_tokens": 2}),
    (routes.RESPONSES, {"tools": [TOOL], "tool_choice": "required"}),
    (routes.MESSAGES, {}),
    (routes.MESSAGES, {"stop_sequences": ["a"]}),
]
_CHANGING = {"id", "call_id", "created", "created_at", "prompt_logprobs"}


def content(value):
    """What an answer says: without ids and times, and without what is null or empty."""
    if isinstance(value, dict):
        kept = {name: content(item) for name, item in value.items() if name not in _CHANGING}
        return {name: item for name, item in kept.items() if item not in (None, "", [], {})}
    return [content(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("route", "asked"), VARIANTS)
def test_a_servers_plain_and_streamed_answers_say_the_same(server, route, asked):
    body = {**PROMPTS[route], "temperature": 0, **asked}
    streaming = {"stream": True, "stream_options": {"include_usage": True}}
    plain, stream = (
        httpx.post(server.url + PATHS[route], json=request).raise_for_status().content
        for request in (body, {**body, **streaming})
    )
    from_stream, from_plain = folded(route, stream), folded(route, unfolded(route, plain, usage=True))
    assert content(parse(from_stream).value) == content(parse(plain).value)
    assert alike(parse(from_plain).value, parse(plain).value)
    assert is_complete(route, body, from_stream, streamed=False)
    assert is_complete(route, body, unfolded(route, plain, usage=False), streamed=True)


def captured(file, name):
    source = CAPTURES / file
    if not source.exists():
        pytest.skip(f"needs {file}, recorded beside the repository, in ../shared/reference/captures")
    pattern = rf"### {name}\n\d+\n[^\n]*\n(.*?)(?=^### |\Z)"
    [body] = re.findall(pattern, source.read_text(), re.MULTILINE | re.DOTALL)
    return body.encode()


@pytest.mark.parametrize(
    ("file", "name", "route"),
    [
        ("llamacpp_probes.txt", "chat_logprobs", routes.CHAT),
        ("llamacpp_probes.txt", "stop", routes.CHAT),
        ("llamacpp_probes.txt", "responses", routes.RESPONSES),
        ("transformers_serve_probes.txt", "chat", routes.CHAT),
        ("transformers_serve_probes.txt", "completions", routes.COMPLETIONS),
    ],
)
def test_plain_answers_of_real_servers_survive_as_streams(file, name, route):
    body = captured(file, name).strip()
    assert alike(parse(folded(route, unfolded(route, body, usage=True))).value, parse(body).value)


def test_a_chat_stream_of_llama_cpp_folds_once_it_has_usage():
    stream = captured("llamacpp_probes.txt", "stream_nousage")
    with pytest.raises(Lossy, match="usage"):
        folded(routes.CHAT, stream)
    counted = stream.replace(b'"timings"', b'"usage":{"total_tokens":34},"timings"')
    answer = parse(folded(routes.CHAT, counted)).value
    assert answer["choices"] == [
        {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "I'm"}}
    ]
    assert answer["timings"]["predicted_n"] == 2
    assert answer["created"] == 1795417044


def test_a_completions_stream_of_llama_cpp_folds():
    stream = captured("llamacpp_probes.txt", "completion_stream")
    answer = parse(folded(routes.COMPLETIONS, stream)).value
    assert answer["choices"] == [{"text": "-look", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert answer["usage"]["total_tokens"] == 3
    *chunks, last = documents(restyled(stream, usage=True))
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 3)
    assert "timings" in chunks[-1]


def test_a_chat_stream_of_transformers_folds():
    answer = parse(folded(routes.CHAT, captured("transformers_serve_probes.txt", "stream"))).value
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello there"}
    assert (choice["finish_reason"], answer["system_fingerprint"]) == ("length", "")
