from typing import Any

import pytest

from proxy.core.errors import NotCarried
from proxy.wire.bridges.completions_request import Options, completions_request, top_logprobs
from proxy.wire.bridges.template import Template

TEMPLATE = Template(
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
HI = [{"role": "user", "content": "hi"}]


def converted(template=TEMPLATE, strict=False, render_tools=False, default=None, **fields: Any):
    options = Options(template, {"bos_token": "<s>", "eos_token": "</s>"}, default, render_tools)
    return completions_request({"messages": HI, "max_tokens": 5, **fields}, options, strict=strict)


def completion(**fields: Any) -> dict[str, Any]:
    return converted(**fields)[0]


def test_messages_are_a_prompt_and_the_rest_goes_as_it_is():
    given = {
        "model": "m",
        "temperature": 0,
        "n": 2,
        "stop": ["x"],
        "stream": True,
        "stream_options": {},
        "seed": 1,
        "top_k": 2,
    }
    body, left_out = converted(**given)
    assert body == {**given, "prompt": "<s>[user]hi</s>[assistant]", "max_tokens": 5}
    assert left_out == []


def test_the_limit_has_one_name():
    assert completion(max_completion_tokens=7)["max_tokens"] == 7
    assert "max_completion_tokens" not in completion(max_completion_tokens=7)
    assert completion(max_tokens=None, default=9)["max_tokens"] == 9
    with pytest.raises(NotCarried, match=r"max_tokens \(missing: .*'default_max_tokens' sets one"):
        completion(max_tokens=None)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"logprobs": True}, 1),
        ({"logprobs": True, "top_logprobs": 0}, 1),
        ({"logprobs": True, "top_logprobs": 3}, 3),
        ({"logprobs": False}, None),
        ({"logprobs": None, "top_logprobs": None}, None),
    ],
)
def test_logprobs_are_a_number(fields, asked):
    assert completion(**fields).get("logprobs") == asked
    assert "top_logprobs" not in completion(**fields)


def test_alternatives_of_nothing_are_refused():
    with pytest.raises(NotCarried, match="top_logprobs"):
        completion(top_logprobs=2)


def test_how_many_alternatives_a_chat_asks_for():
    assert [top_logprobs(request) for request in ({}, {"top_logprobs": 2}, {"top_logprobs": None})] == [0, 2, 0]


def test_parts_of_text_are_joined_and_others_refused():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert "[user]a\nb<" in completion(messages=[{"role": "user", "content": parts}])["prompt"]
    for part in ({"type": "image_url", "image_url": {"url": "x"}}, "a", {"type": "text"}):
        with pytest.raises(NotCarried, match=r"messages\[0\]\.content\[2\] \(a prompt holds text only\)"):
            completion(messages=[{"role": "user", "content": [*parts, part]}])


def test_the_template_is_given_what_the_request_says_of_it():
    template = Template("{{ enable_thinking }}{{ add_generation_prompt }}{{ bos_token }}")
    kwargs = {"enable_thinking": False, "bos_token": "no"}
    made = completion(template=template, chat_template_kwargs=kwargs, add_generation_prompt=False)
    assert made == {"prompt": "FalseFalse<s>", "max_tokens": 5}
    with pytest.raises(NotCarried, match="chat_template_kwargs"):
        completion(chat_template_kwargs=[])


def test_arguments_of_calls_are_objects_for_the_template():
    template = Template(
        "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments.a }};{% endfor %}{% endfor %}"
    )
    calls = [
        {"id": "1", "function": {"name": "f", "arguments": '{"a": 7}'}},
        {"id": "2", "function": {"name": "f", "arguments": "{"}},
        {"id": "3", "function": {"name": "f", "arguments": {"a": 8}}},
        {"id": "4", "function": None},
    ]
    assert completion(template=template, messages=[{"role": "assistant", "tool_calls": calls[:3]}])["prompt"] == "7;;8;"
    assert completion(template=Template("x"), messages=[{"role": "assistant", "tool_calls": [calls[3], "c"]}])


def test_tools_are_refused_unless_the_template_is_to_show_them():
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(NotCarried, match=r"tools \(.*'render_tools: true' shows it the tools"):
        completion(tools=tools)
    template = Template("{{ tools[0].function.name if tools else 'none' }}")
    assert completion(template=template, tools=tools, render_tools=True, tool_choice="auto")["prompt"] == "f"
    assert completion(template=template, tools=[])["prompt"] == "none"
    with pytest.raises(NotCarried, match="parallel_tool_calls"):
        completion(template=template, tools=tools, render_tools=True, parallel_tool_calls=False)


def test_what_changes_no_answer_is_left_out_and_told():
    fields = {"metadata": {"a": "b"}, "parallel_tool_calls": True, "store": True}
    assert converted(**fields)[1] == list(fields)
    with pytest.raises(NotCarried, match="leave out metadata, parallel_tool_calls, store"):
        converted(strict=True, **fields)


def test_what_asks_for_nothing_is_no_loss():
    nothing = {
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "store": False,
        "audio": None,
    }
    assert converted(strict=True, **nothing)[1] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", {"type": "json_object"}),
        ("tool_choice", "required"),
        ("modalities", ["text", "audio"]),
        ("reasoning_effort", "low"),
        ("chat_template", "x"),
        ("continue_final_message", True),
        ("functions", [{}]),
        ("prompt", "x"),
        ("echo", True),
        ("best_of", 2),
        ("messages", None),
        ("messages", "hi"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(name, value):
    with pytest.raises(NotCarried, match=rf"cannot carry over {name}\b.*; send the request without, or ask"):
        converted(**{name: value})


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("hi", r"messages\[0\]"),
        ({"role": "assistant", "function_call": {"name": "f"}}, r"messages\[0\]\.function_call"),
    ],
)
def test_messages_that_no_template_takes(message, field):
    with pytest.raises(NotCarried, match=field):
        completion(messages=[message])


def test_a_template_that_refuses_the_messages_is_the_reason():
    with pytest.raises(NotCarried, match=r"messages \(the chat template does not take them: only one\)"):
        completion(template=Template("{{ raise_exception('only one') }}"))
