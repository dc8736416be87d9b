"""POST /tokenize and /detokenize in vLLM's form."""

from typing import Any

from proxy.testing import tokenizer
from proxy.testing.errors import ApiError
from proxy.testing.model import Model
from proxy.testing.prompts import render_chat
from proxy.testing.replies import Reply


def tokenize(model: Model, body: dict[str, Any]) -> Reply:
    """`{"count", "max_model_len", "tokens", "token_strs"}` of a prompt or of chat messages; raises ApiError."""
    model.name_for(body)
    if "messages" in body:
        text = render_chat(body["messages"])
    elif isinstance(body.get("prompt"), str):
        text = body["prompt"]
    else:
        raise ApiError(400, "prompt is required and must be a string, unless messages are given", param="prompt")
    tokens = tokenizer.encode(text)
    return Reply(
        json={
            "count": len(tokens),
            "max_model_len": model.options.max_model_len,
            "tokens": tokens,
            "token_strs": tokenizer.split(text) if body.get("return_token_strs") else None,
        }
    )


def detokenize(model: Model, body: dict[str, Any]) -> Reply:
    """`{"prompt"}`, the text of `tokens`; raises ApiError."""
    model.name_for(body)
    tokens = body.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise ApiError(400, "tokens is required and must be a list of token ids", param="tokens")
    try:
        return Reply(json={"prompt": tokenizer.decode(tokens)})
    except ValueError as error:
        raise ApiError(400, str(error), param="tokens") from None
