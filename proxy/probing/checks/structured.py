"""Function calls, and answers that have to be JSON."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import orjson

from proxy.probing.answers import Answer, Ask, content, objects, quoted, reasoning_field, short
from proxy.probing.check import STRUCTURED, TOOLS, Check, Finding, Steps, lacking, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TOKENS = 64
_ROOM = 1024
"""Tokens, for a model that reasons before it answers."""
_WEATHER = "What is the weather in Paris? Use the tool."
_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_JSON = "Name one color. Answer in JSON."
"""OpenAI wants the word in the prompt."""
_COLORS = ["red", "blue"]
_SCHEMA = {
    "type": "object",
    "properties": {"color": {"type": "string", "enum": _COLORS}},
    "required": ["color"],
    "additionalProperties": False,
}


def tools(subject: Subject) -> Steps:
    """A question that a tool answers leads to a call of it."""
    return _called(subject, tool_choice="auto")


def tool_choice(subject: Subject) -> Steps:
    """With `required` there is a call whatever the model would rather say."""
    return _called(subject, tool_choice="required")


def _asked(subject: Subject, prompt: str | None, **fields: Any) -> Generator[Ask, Answer, Answer]:
    """Return an answer; one that was cut while the model reasoned is asked for again, with more room."""
    answer = yield from plain(subject.ask(prompt, tokens=_TOKENS, **subject.at(0), **fields))
    if _is_cut(answer) and reasoning_field(answer) is not None:
        answer = yield from plain(subject.ask(prompt, tokens=_ROOM, **subject.at(0), **fields))
    return answer


def _called(subject: Subject, **fields: Any) -> Steps:
    answer = yield from _asked(subject, _WEATHER, tools=[_TOOL], **fields)
    message = answer.choices[0].get("message") if answer.choices else None
    calls = objects(message.get("tool_calls")) if isinstance(message, dict) else []
    if not calls:
        text = content(answer)
        left = "get_weather" in text and "{" in text
        verdict = Verdict.WRONG if left else Verdict.IGNORED
        return Finding(verdict, f"{'the call is left in the text' if left else 'no call, but text'}: {quoted(text)}")
    function = calls[0].get("function")
    called = function if isinstance(function, dict) else {}
    if isinstance(_parsed(called.get("arguments")), dict) and called.get("name") == "get_weather":
        return Finding(Verdict.SUPPORTED, short(called))
    if _is_cut(answer):
        return Finding(Verdict.UNKNOWN, f"a call that was cut: {short(calls[0])}")
    return Finding(Verdict.WRONG, f"a broken call: {short(calls[0])}")


def json_schema(subject: Subject) -> Steps:
    """The answer fits the schema, though the question asks for a story."""
    wanted = {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": _SCHEMA}}
    answer = yield from _asked(subject, None, response_format=wanted)
    document = _parsed(content(answer))
    fits = isinstance(document, dict) and document.keys() == {"color"} and document["color"] in _COLORS
    return _is_json(answer, fits)


def json_object(subject: Subject) -> Steps:
    """The answer is a JSON object."""
    answer = yield from _asked(subject, _JSON, response_format={"type": "json_object"})
    return _is_json(answer, isinstance(_parsed(content(answer)), dict))


def _is_json(answer: Answer, fits: bool) -> Finding:
    text = content(answer)
    if fits:
        return Finding(Verdict.SUPPORTED, quoted(text))
    if _is_cut(answer) and text.lstrip().startswith("{"):
        return Finding(Verdict.UNKNOWN, f"begins as JSON, and was cut: {quoted(text)}")
    return Finding(Verdict.IGNORED, f"not what was asked for: {quoted(text)}")


def _is_cut(answer: Answer) -> bool:
    return bool(answer.choices) and answer.choices[0].get("finish_reason") == "length"


def _parsed(text: Any) -> Any:
    try:
        return orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return None


def checks(route: str) -> tuple[Check, ...]:
    """Return the checks of chat; text completions have none."""
    if route != routes.CHAT:
        return ()
    by_prompt = "describe the tools in the prompt"
    return (
        Check(
            route,
            "tools",
            "a question that a tool answers leads to a call",
            tools,
            (TOOLS,),
            {
                **lacking(by_prompt),
                Verdict.WRONG: "start the server with a tool-call parser",
                Verdict.IGNORED: "a weak model, or no tool-call parser in the server",
            },
        ),
        Check(route, "tool_choice", "tool_choice required leads to a call", tool_choice, (TOOLS,), lacking(by_prompt)),
        Check(
            route,
            "json_schema",
            "the answer fits the schema, whatever the prompt asks",
            json_schema,
            (STRUCTURED,),
            lacking("ask for JSON in the prompt"),
        ),
        Check(
            route,
            "json_object",
            "an answer that has to be a JSON object is one",
            json_object,
            (STRUCTURED,),
            lacking("ask for JSON in the prompt"),
        ),
    )
