"""Function calls, and answers that have to be JSON."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.probing.answers import Answer, objects, quoted, said, short
from proxy.probing.check import STRUCTURED, TOOLS, Check, Finding, Steps, lacking, plain
from proxy.probing.subject import Subject
from proxy.wire import routes
from proxy.wire.profile import Verdict

_TOKENS = 64
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


def _called(subject: Subject, **fields: Any) -> Steps:
    answer = yield from plain(subject.ask(_WEATHER, tokens=_TOKENS, temperature=0, tools=[_TOOL], **fields))
    message = answer.choices[0].get("message") if answer.choices else None
    calls = objects(message.get("tool_calls")) if isinstance(message, dict) else []
    if not calls:
        text = said(answer.choices[0]) if answer.choices else ""
        left = "get_weather" in text and "{" in text
        verdict = Verdict.WRONG if left else Verdict.IGNORED
        return Finding(verdict, f"{'the call is left in the text' if left else 'no call, but text'}: {quoted(text)}")
    function = calls[0].get("function")
    called = function if isinstance(function, dict) else {}
    if not isinstance(_parsed(called.get("arguments")), dict) or called.get("name") != "get_weather":
        cut = _reason(answer) == "length"
        return Finding(
            Verdict.UNKNOWN if cut else Verdict.WRONG, f"{'cut' if cut else 'broken'} call: {short(calls[0])}"
        )
    return Finding(Verdict.SUPPORTED, short(called))


def json_schema(subject: Subject) -> Steps:
    """The answer fits the schema, though the question asks for a story."""
    wanted = {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": _SCHEMA}}
    answer = yield from plain(subject.ask(tokens=_TOKENS, response_format=wanted))
    text = said(answer.choices[0]) if answer.choices else ""
    document = _parsed(text)
    fits = isinstance(document, dict) and document.keys() == {"color"} and document["color"] in _COLORS
    return _is_json(answer, text, fits)


def json_object(subject: Subject) -> Steps:
    """The answer is a JSON object."""
    answer = yield from plain(
        subject.ask(_JSON, tokens=_TOKENS, temperature=0, response_format={"type": "json_object"})
    )
    text = said(answer.choices[0]) if answer.choices else ""
    return _is_json(answer, text, isinstance(_parsed(text), dict))


def _is_json(answer: Answer, text: str, fits: bool) -> Finding:
    if fits:
        return Finding(Verdict.SUPPORTED, quoted(text))
    if _reason(answer) == "length" and text.lstrip().startswith("{"):
        return Finding(Verdict.UNKNOWN, f"begins as JSON, and was cut: {quoted(text)}")
    return Finding(Verdict.IGNORED, f"not what was asked for: {quoted(text)}")


def _reason(answer: Answer) -> Any:
    return answer.choices[0].get("finish_reason") if answer.choices else None


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
            route, "tools", "a tool is called", tools, (TOOLS,),
            {
                **lacking(by_prompt),
                Verdict.WRONG: "start the server with a tool-call parser",
                Verdict.IGNORED: "a weak model, or no tool-call parser in the server",
            },
        ),
        Check(route, "tool_choice", "required leads to a call", tool_choice, (TOOLS,), lacking(by_prompt)),
        Check(
            route, "json_schema", "the answer fits the schema", json_schema, (STRUCTURED,),
            lacking("ask for JSON in the prompt"),
        ),
        Check(
            route, "json_object", "the answer is a JSON object", json_object, (STRUCTURED,),
            lacking("ask for JSON in the prompt"),
        ),
    )  # fmt: skip
