"""POST /v1/responses: one message or one function call, plain and streamed."""

import time
from dataclasses import replace
from typing import Any

from proxy.testing import tokenizer
from proxy.testing.errors import ApiError
from proxy.testing.events import EventStream
from proxy.testing.generation import Generation, Sampling
from proxy.testing.model import Model, count_tokens
from proxy.testing.prompts import last_user_text, render_chat
from proxy.testing.replies import Reply
from proxy.testing.tools import ToolCall, call_tool, chosen_tool


def responses(model: Model, body: dict[str, Any]) -> Reply:
    """Answer a responses request; raises ApiError."""
    name = model.name_for(body)
    messages = _messages(body)
    prompt = render_chat(messages)
    sampling = replace(Sampling.of(body, ("max_output_tokens",)), n=1)
    model.limit(sampling, count_tokens(prompt))
    call = model.next_call()
    function = chosen_tool(body, last_user_text(messages))
    if function is None:
        generation = model.generate(body, prompt, sampling, call, 0)
        item = _message(model, generation)
    else:
        tool_call = call_tool(function, model.words(prompt, sampling, call, 0))
        generation = Generation(tokenizer.split(tool_call.arguments), "stop")
        item = _function_call(model, tool_call)
    response = _response(model, body, name)
    final = _finished(response, item, count_tokens(prompt), generation)
    if not body.get("stream"):
        return model.plain(final, generation.count)
    return _streamed(model.stream(), response, item, generation, final)


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body.get("input")
    if not isinstance(given, (str, list)):
        raise ApiError(400, "input is required and must be a string or a list of items", param="input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = [_as_message(item) for item in items]
    if body.get("instructions"):
        messages.insert(0, {"role": "system", "content": str(body["instructions"])})
    return messages


def _as_message(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise ApiError(400, "every input item must be an object", param="input")
    if "role" in item:
        return item
    text = f"{item.get('name') or ''}{item.get('arguments') or ''}{item.get('output') or ''}"
    return {"role": str(item.get("type")), "content": text}


def _response(model: Model, body: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "id": model.new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": name,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": True,
        "temperature": body.get("temperature"),
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "usage": None,
    }


def _message(model: Model, generation: Generation) -> dict[str, Any]:
    content = [{"type": "output_text", "text": generation.text, "annotations": []}]
    status = "incomplete" if generation.finish_reason == "length" else "completed"
    return {"id": model.new_id("msg_"), "type": "message", "role": "assistant", "status": status, "content": content}


def _function_call(model: Model, call: ToolCall) -> dict[str, Any]:
    identity = {"id": model.new_id("fc_"), "call_id": model.new_id("call_"), "type": "function_call"}
    return {**identity, "name": call.name, "arguments": call.arguments, "status": "completed"}


def _finished(
    response: dict[str, Any], item: dict[str, Any], prompt_tokens: int, generation: Generation
) -> dict[str, Any]:
    cut = generation.finish_reason == "length"
    return {
        **response,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [item],
        "usage": {
            "input_tokens": prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": generation.count,
            "output_tokens_details": {"reasoning_tokens": len(generation.reasoning)},
            "total_tokens": prompt_tokens + generation.count,
        },
    }


def _streamed(
    stream: EventStream,
    response: dict[str, Any],
    item: dict[str, Any],
    generation: Generation,
    final: dict[str, Any],
) -> Reply:
    sequence = 0

    def event(kind: str, token: bool = False, **fields: Any) -> None:
        nonlocal sequence
        stream.add({"type": kind, "sequence_number": sequence, **fields}, event=kind, token=token)
        sequence += 1

    event("response.created", response=response)
    event("response.in_progress", response=response)
    where = {"item_id": item["id"], "output_index": 0}
    if item["type"] == "message":
        event("response.output_item.added", output_index=0, item={**item, "status": "in_progress", "content": []})
        part = item["content"][0]
        inside = {**where, "content_index": 0}
        event("response.content_part.added", part={**part, "text": ""}, **inside)
        for token in generation.tokens:
            event("response.output_text.delta", token=True, delta=token, logprobs=[], **inside)
        event("response.output_text.done", text=part["text"], logprobs=[], **inside)
        event("response.content_part.done", part=part, **inside)
    else:
        event("response.output_item.added", output_index=0, item={**item, "status": "in_progress", "arguments": ""})
        for token in generation.tokens:
            event("response.function_call_arguments.delta", token=True, delta=token, **where)
        event("response.function_call_arguments.done", name=item["name"], arguments=item["arguments"], **where)
    event("response.output_item.done", output_index=0, item=item)
    event(f"response.{final['status']}", response=final)
    return stream.reply()
