"""POST /v1/chat/completions, plain and streamed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from proxy.testing import tokenizer
from proxy.testing.errors import ApiError
from proxy.testing.generation import Generation, Sampling, generate, integer
from proxy.testing.jsonio import dumps
from proxy.testing.logprobs import chat_shape, score
from proxy.testing.model import Model, count_tokens, usage
from proxy.testing.prompts import last_user_text, render_chat
from proxy.testing.replies import Reply
from proxy.testing.structured import instance
from proxy.testing.tools import ToolCall, call_tool, chosen_tool

LIMIT_FIELDS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: words, or a tool call whose arguments are `generation.tokens`."""

    generation: Generation
    call: ToolCall | None = None
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """Everything both forms of the answer are made of."""

    envelope: dict[str, Any]
    prompt: str
    choices: list[Choice]
    top_logprobs: int | None
    """None where no logprobs were asked for."""

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts over all choices."""
        return usage(count_tokens(self.prompt), sum(choice.generation.count for choice in self.choices))

    def logprobs(self, choice: Choice, tokens: list[str], before: str = "") -> dict[str, Any] | None:
        """The logprobs of some tokens of a choice that follow `before`."""
        if self.top_logprobs is None or choice.call is not None:
            return None
        return chat_shape(score(self.prompt + before, tokens, self.top_logprobs, generated=True))


def chat(model: Model, body: dict[str, Any]) -> Reply:
    """Answer a chat request; raises ApiError."""
    answer = _answer(model, body)
    if body.get("stream"):
        return _streamed(model, body, answer)
    choices = [_choice(answer, index, choice) for index, choice in enumerate(answer.choices)]
    tokens = max(choice.generation.count for choice in answer.choices)
    return model.plain({**answer.envelope, "choices": choices, "usage": answer.usage, "prompt_logprobs": None}, tokens)


def _answer(model: Model, body: dict[str, Any]) -> ChatAnswer:
    name = model.name_for(body)
    prompt = render_chat(body.get("messages"))
    sampling = Sampling.of(body, LIMIT_FIELDS)
    top_logprobs = _top_logprobs(body)
    model.limit(sampling, count_tokens(prompt))
    call = model.next_call()
    choices = [_generate(model, body, prompt, sampling, call, index) for index in range(sampling.n)]
    envelope = {
        "id": model.new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "system_fingerprint": model.options.system_fingerprint,
    }
    return ChatAnswer(envelope, prompt, choices, top_logprobs)


def _top_logprobs(body: dict[str, Any]) -> int | None:
    top = integer(body, "top_logprobs", minimum=0)
    if not body.get("logprobs"):
        if top:
            raise ApiError(400, "top_logprobs requires logprobs to be true", param="top_logprobs")
        return None
    return top or 0


def _generate(model: Model, body: dict[str, Any], prompt: str, sampling: Sampling, call: int, index: int) -> Choice:
    reasoning = model.options.reasoning
    function = chosen_tool(body, last_user_text(body["messages"]))
    if function is not None:
        tool_call = call_tool(function, model.words(prompt, sampling, call, index))
        said = Generation(tokenizer.split(tool_call.arguments), "tool_calls", None, tokenizer.split(reasoning))
        return Choice(said, tool_call, model.new_id("chatcmpl-tool-"))
    text = None
    if body.get("response_format") and model.options.answer is None:
        text = _structured(body["response_format"], model.words(prompt, sampling, call, index))
    if text is None:
        text = model.say(body, prompt, sampling, call, index)
    return Choice(generate(text, sampling, reasoning))


def _structured(response_format: Any, words: Iterator[str]) -> str | None:
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_object":
        return dumps({"answer": next(words)}).decode()
    if response_format.get("type") == "json_schema":
        return dumps(instance((response_format.get("json_schema") or {}).get("schema"), words)).decode()
    return None


def _choice(answer: ChatAnswer, index: int, choice: Choice) -> dict[str, Any]:
    generation = choice.generation
    message: dict[str, Any] = {
        "role": "assistant",
        "content": generation.text if choice.call is None else None,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning_content": "".join(generation.reasoning) or None,
    }
    if choice.call is not None:
        function = {"name": choice.call.name, "arguments": choice.call.arguments}
        message["tool_calls"] = [{"id": choice.call_id, "type": "function", "function": function}]
    return {
        "index": index,
        "message": message,
        "logprobs": answer.logprobs(choice, generation.tokens),
        "finish_reason": generation.finish_reason,
        "stop_reason": generation.stop_reason,
    }


def _streamed(model: Model, body: dict[str, Any], answer: ChatAnswer) -> Reply:
    options = body.get("stream_options") or {}
    envelope = {**answer.envelope, "object": "chat.completion.chunk"}
    prompt_tokens, sent = count_tokens(answer.prompt), 0
    stream = model.stream()

    def chunk(choices: list[dict[str, Any]], token: bool = False) -> None:
        value = {**envelope, "choices": choices}
        if options.get("continuous_usage_stats") and options.get("include_usage"):
            value["usage"] = usage(prompt_tokens, sent)
        stream.add(value, token=token)

    for index in range(len(answer.choices)):
        chunk([_delta(index, {"role": "assistant", "content": ""})])
    deltas = [_deltas(answer, index, choice) for index, choice in enumerate(answer.choices)]
    for step in zip_longest(*deltas):
        paced = True  # all choices are decoded in one step, so only the first of them waits
        for delta in step:
            if delta is not None:
                sent += 1
                chunk([delta], token=paced)
                paced = False
    for index, choice in enumerate(answer.choices):
        finish = {"finish_reason": choice.generation.finish_reason, "stop_reason": choice.generation.stop_reason}
        chunk([{**_delta(index, {}), **finish}])
    if options.get("include_usage"):
        stream.add({**envelope, "choices": [], "usage": answer.usage})
    if model.options.send_done:
        stream.add_done()
    return stream.reply()


def _deltas(answer: ChatAnswer, index: int, choice: Choice) -> Iterator[dict[str, Any]]:
    for thought in choice.generation.reasoning:
        yield _delta(index, {"reasoning_content": thought})
    if choice.call is not None:
        yield from _tool_deltas(index, choice, choice.call)
        return
    before = ""
    for token in choice.generation.tokens:
        yield _delta(index, {"content": token}, answer.logprobs(choice, [token], before))
        before += token


def _tool_deltas(index: int, choice: Choice, call: ToolCall) -> Iterator[dict[str, Any]]:
    """Name and the first fragment of the arguments come together; later fragments carry the index only."""
    first, *rest = choice.generation.tokens
    function = {"name": call.name, "arguments": first}
    yield _delta(index, {"tool_calls": [{"index": 0, "id": choice.call_id, "type": "function", "function": function}]})
    for fragment in rest:
        yield _delta(index, {"tool_calls": [{"index": 0, "function": {"arguments": fragment}}]})


def _delta(index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
