import json

import pytest

HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


def say(sdk, **fields):
    return sdk.chat.completions.create(**{"model": "m", "messages": HELLO, **fields})


def content(answer):
    return [choice.message.content for choice in answer.choices]


def test_greedy_answers_are_the_same_each_time(sdk):
    assert content(say(sdk, temperature=0)) == content(say(sdk, temperature=0, seed=5))


def test_sampled_answers_differ_each_time_unless_seeded(sdk):
    assert content(say(sdk)) != content(say(sdk))
    assert content(say(sdk, temperature=0.7)) != content(say(sdk, temperature=0.7))
    assert content(say(sdk, seed=1)) == content(say(sdk, seed=1)) != content(say(sdk, seed=2))


def test_other_messages_get_another_answer_whatever_form_they_have(sdk):
    parts = [{"type": "text", "text": "hello"}]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    variants = ["hello", "bye", [*parts, image], [*parts, audio]]
    answers = [
        content(say(sdk, temperature=0, messages=[{"role": "user", "content": it}])) for it in [*variants, parts]
    ]
    assert answers[0] == answers[4]
    assert len({tuple(answer) for answer in answers}) == 4


def test_choices_differ_and_usage_counts_them_all(sdk, server):
    answer = say(sdk, n=3, logprobs=True)
    assert len(set(content(answer))) == 3
    assert answer.usage.completion_tokens == sum(len(choice.logprobs.content) for choice in answer.choices)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert (answer.system_fingerprint, answer.model) == ("fp_mock", "m")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_token_limit_is_kept(sdk, field):
    answer = say(sdk, **{field: 2})
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (2, "length")


def test_stop_strings_cut_the_answer(sdk, server):
    server.options.answer = "one. two. three."
    answer = say(sdk, stop=[". t"])
    assert (content(answer), answer.choices[0].finish_reason) == (["one"], "stop")


def test_an_answer_function_gets_body_choice_and_call(sdk, server):
    server.options.answer = lambda body, choice, call: f"{body['seed']}-{choice}-{call}"
    assert content(say(sdk, seed=7, n=2)) == ["7-0-0", "7-1-0"]
    assert content(say(sdk, seed=7)) == ["7-0-1"]


def test_logprobs_have_the_chat_shape(sdk):
    [choice] = say(sdk, logprobs=True, top_logprobs=3).choices
    assert "".join(entry.token for entry in choice.logprobs.content) == choice.message.content
    assert all(len(entry.top_logprobs) == 3 for entry in choice.logprobs.content)
    assert all(bytes(entry.bytes).decode() == entry.token for entry in choice.logprobs.content)


def test_a_stream_says_what_the_plain_answer_says(sdk):
    fields = {"n": 2, "seed": 3, "logprobs": True, "top_logprobs": 1}
    plain = say(sdk, **fields)
    chunks = list(say(sdk, stream=True, stream_options={"include_usage": True}, **fields))
    for index, choice in enumerate(plain.choices):
        parts = [part for chunk in chunks for part in chunk.choices if part.index == index]
        assert parts[0].delta.role == "assistant"
        assert "".join(part.delta.content or "" for part in parts) == choice.message.content
        assert [entry for part in parts if part.logprobs for entry in part.logprobs.content] == choice.logprobs.content
        assert [part.finish_reason for part in parts if part.finish_reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == plain.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_ends_with_done_and_has_usage_only_on_request(post, server):
    body = {"messages": HELLO, "stream": True, "max_tokens": 3}
    answer = post("/v1/chat/completions", body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert len(events) == 1 + 3 + 1 + 2  # role, tokens, finish, [DONE], nothing
    assert "usage" not in answer.text
    server.options.send_done = False
    assert "[DONE]" not in post("/v1/chat/completions", body).text


def test_continuous_usage_counts_up(post):
    options = {"include_usage": True, "continuous_usage_stats": True}
    answer = post(
        "/v1/chat/completions", {"messages": HELLO, "stream": True, "max_tokens": 2, "stream_options": options}
    )
    counts = [json.loads(line[6:])["usage"]["completion_tokens"] for line in answer.text.split("\n\n")[:-2]]
    assert counts == [0, 1, 2, 2, 2]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}, "auto", None])
def test_a_tool_is_called_with_arguments_that_fit(sdk, choice):
    text = "use the tool" if choice in ("auto", None) else "hello"
    chosen = {} if choice is None else {"tool_choice": choice}
    fields = {"messages": [{"role": "user", "content": text}], "tools": [WEATHER], "temperature": 0, **chosen}
    [answer] = say(sdk, **fields).choices
    assert (answer.finish_reason, answer.message.content) == ("tool_calls", None)
    [call] = answer.message.tool_calls
    arguments = json.loads(call.function.arguments)
    assert call.function.name == "weather"
    assert (type(arguments["city"]), type(arguments["days"])) == (str, int)
    parts = [chunk.choices[0].delta.tool_calls for chunk in say(sdk, stream=True, **fields) if chunk.choices]
    fragments = [part[0] for part in parts if part]
    assert len(fragments) > 2
    assert "".join(fragment.function.arguments for fragment in fragments) == call.function.arguments
    assert [fragment.function.name for fragment in fragments if fragment.function.name] == ["weather"]


@pytest.mark.parametrize("fields", [{"tool_choice": "none"}, {}])
def test_no_tool_is_called_unless_asked(sdk, fields):
    assert say(sdk, tools=[WEATHER], **fields).choices[0].message.tool_calls in (None, [])


def test_structured_output_fits_the_schema(sdk):
    schema = {"type": "object", "properties": {"color": {"enum": ["red"]}}, "required": ["color"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema}}
    assert json.loads(content(say(sdk, response_format=wanted))[0]) == {"color": "red"}
    assert isinstance(json.loads(content(say(sdk, response_format={"type": "json_object"}))[0]), dict)


def test_reasoning_comes_first_in_a_field_of_its_own(sdk, server):
    server.options.reasoning = "let me see"
    fields = {"temperature": 0}
    plain = say(sdk, **fields)
    assert plain.choices[0].message.reasoning_content == "let me see"
    deltas = [chunk.choices[0].delta for chunk in say(sdk, stream=True, **fields)]
    thoughts = [getattr(delta, "reasoning_content", None) for delta in deltas]
    assert "".join(thought or "" for thought in thoughts) == "let me see"
    assert plain.usage.completion_tokens == len([d for d, t in zip(deltas, thoughts, strict=True) if t or d.content])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": "hello"},
        {"messages": [{"content": "no role"}]},
        {"messages": HELLO, "top_logprobs": 2},
        {"messages": HELLO, "max_tokens": 10**9},
        {"messages": HELLO, "tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
        b"{not json",
        b"[]",
    ],
)
def test_bad_requests_are_400_in_openai_shape(post, body):
    answer = post("/v1/chat/completions", body)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert (answer.json()["error"]["type"], answer.json()["error"]["code"]) == ("BadRequestError", 400)


def test_lenient_json_is_read_as_python_does(post):
    body = b'{"messages": [{"role": "user", "content": "\\ud800"}], "x": NaN, "x": 1}'
    assert post("/v1/chat/completions", body).status_code == 200
