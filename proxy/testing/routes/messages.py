"""POST /v1/messages: the Anthropic form of a chat, plain and streamed, text only."""

from dataclasses import replace
from typing import Any

from proxy.testing.errors import ApiError
from proxy.testing.generation import Generation, Sampling
from proxy.testing.model import Model, count_tokens
from proxy.testing.prompts import content_text, render_chat
from proxy.testing.replies import Reply


def messages(model: Model, body: dict[str, Any]) -> Reply:
    """Answer a messages request; raises ApiError."""
    name = model.name_for(body)
    system = content_text(body.get("system"))
    prompt = (f"<|system|>\n{system}\n" if system else "") + render_chat(body.get("messages"))
    if body.get("max_tokens") is None:
        raise ApiError(400, "max_tokens is required", param="max_tokens")
    sampling = replace(Sampling.of({**body, "stop": body.get("stop_sequences")}), n=1)
    model.limit(sampling, count_tokens(prompt))
    generation = model.generate(body, prompt, sampling, model.next_call(), 0)
    usage = {"input_tokens": count_tokens(prompt), "output_tokens": 0}
    message: dict[str, Any] = {
        "id": model.new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    if body.get("stream"):
        return _streamed(model, message, generation)
    content = [{"type": "text", "text": generation.text}]
    usage["output_tokens"] = generation.count
    return model.plain({**message, "content": content, **_stop(generation), "usage": usage}, generation.count)


def _stop(generation: Generation) -> dict[str, Any]:
    if generation.stop_reason is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": generation.stop_reason}
    return {"stop_reason": "max_tokens" if generation.finish_reason == "length" else "end_turn", "stop_sequence": None}


def _streamed(model: Model, message: dict[str, Any], generation: Generation) -> Reply:
    stream = model.stream()

    def event(kind: str, token: bool = False, **fields: Any) -> None:
        stream.add({"type": kind, **fields}, event=kind, token=token)

    event("message_start", message=message)
    event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for token in generation.tokens:
        event("content_block_delta", token=True, index=0, delta={"type": "text_delta", "text": token})
    event("content_block_stop", index=0)
    event("message_delta", delta=_stop(generation), usage={"output_tokens": generation.count})
    event("message_stop")
    return stream.reply()
