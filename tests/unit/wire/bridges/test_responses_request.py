from typing import Any

import pytest

from proxy.core.errors import NotCarried
from proxy.wire.bridges.responses_request import Options, chat_request

USER = {"role": "user", "content": "hi"}


USUAL = Options()


def converted(options=USUAL, strict=False, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    return chat_request({"input": "hi", **fields}, options, strict=strict)


def chat(**fields: Any) -> dict[str, Any]:
    return converted(**fields)[0]


def test_fields_that_both_routes_have_go_as_they_are_and_in_their_order():
    given = {
        "model": "m",
        "temperature": 0.5,
        "top_p": 1,
        "parallel_tool_calls": False,
        "user": "u",
        "top_k": 4,
        "seed": 1,
    }
    body, left_out = converted(**given)
    assert list(body.items()) == [*given.items(), ("messages", [USER])]
    assert left_out == []


def test_instructions_are_a_system_message_in_front():
    assert chat(instructions="Be kind.")["messages"] == [{"role": "system", "content": "Be kind."}, USER]
    assert chat(instructions=None)["messages"] == [USER]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_has_the_name_that_the_chat_has_for_it(name):
    assert chat(options=Options(max_tokens_field=name), max_output_tokens=7) == {"messages": [USER], name: 7}
    assert chat(max_output_tokens=None) == {"messages": [USER]}


def test_a_stream_asks_for_usage_as_well():
    assert chat(stream=True)["stream_options"] == {"include_usage": True}
    asked = chat(stream=True, stream_options={"include_obfuscation": False})
    assert asked["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert chat(stream=False, stream_options={"include_obfuscation": True}) == {"stream": False, "messages": [USER]}


def test_the_format_of_the_text():
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert chat(text={"format": schema, "verbosity": "low"}) == {
        "messages": [USER],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "verbosity": "low",
    }


def test_reasoning_effort_is_a_field_of_its_own_and_a_summary_is_left_out():
    assert converted(reasoning={"effort": "low", "summary": "auto"}) == (
        {"messages": [USER], "reasoning_effort": "low"},
        ["reasoning.summary"],
    )
    assert converted(reasoning={"effort": None, "summary": None}) == ({"messages": [USER]}, [])
    assert converted(reasoning=None) == ({"messages": [USER]}, [])


@pytest.mark.parametrize(
    ("fields", "asked", "left_out"),
    [
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}, []),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, []),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}, []),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, []),
        ({"top_logprobs": 0}, {}, []),
        ({"include": ["reasoning.encrypted_content"]}, {}, ["include"]),
        ({"include": []}, {}, []),
    ],
)
def test_logprobs(fields, asked, left_out):
    assert converted(**fields) == ({"messages": [USER], **asked}, left_out)


def test_a_tool_choice_goes_with_tools():
    tool = {"type": "function", "name": "f", "parameters": {}}
    nested = {"type": "function", "function": {"name": "f", "parameters": {}}}
    assert chat(tools=[tool], tool_choice="auto") == {"messages": [USER], "tools": [nested], "tool_choice": "auto"}
    assert chat(tools=[], tool_choice="auto") == {"messages": [USER]}
    assert chat(tool_choice="none") == {"messages": [USER]}
    assert chat(tool_choice="required") == {"messages": [USER], "tool_choice": "required"}


def test_what_changes_no_answer_is_left_out_and_told():
    fields = {"metadata": {"a": "b"}, "store": True, "max_tool_calls": 3}
    assert converted(**fields) == ({"messages": [USER]}, ["max_tool_calls", "metadata", "store"])
    for name, value in fields.items():
        with pytest.raises(NotCarried, match=f"leave out {name},"):
            converted(strict=True, **{name: value})


def test_what_asks_for_nothing_is_no_loss():
    nothing: dict[str, Any] = {
        "store": False,
        "background": False,
        "previous_response_id": None,
        "truncation": "disabled",
        "metadata": {},
    }
    assert converted(strict=True, **nothing, n=None, conversation=None) == ({"messages": [USER]}, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background", True),
        ("context_management", [{"type": "compaction"}]),
        ("conversation", "c"),
        ("previous_response_id", "resp_1"),
        ("prompt", {"id": "p"}),
        ("truncation", "auto"),
        ("messages", [USER]),
        ("n", 2),
        ("logprobs", True),
        ("response_format", {"type": "text"}),
        ("max_tokens", 1),
        ("include", "all"),
        ("text", "json"),
        ("reasoning", "low"),
        ("instructions", [{"type": "message"}]),
        ("input", None),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(name, value):
    with pytest.raises(NotCarried, match=rf"cannot carry over {name}\b.*; send the request without, or ask"):
        converted(**{name: value})


def test_a_field_of_reasoning_that_nobody_knows_is_refused():
    with pytest.raises(NotCarried, match=r"reasoning\.context"):
        converted(reasoning={"context": "all"})
    assert converted(reasoning={"context": None}) == ({"messages": [USER]}, [])


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(
        NotCarried, match=r"background, input\[0\] \(.*'web_search_call'\), tools\[0\] \(.*'web_search'"
    ):
        converted(background=True, input=[{"type": "web_search_call"}], tools=[{"type": "web_search"}])
