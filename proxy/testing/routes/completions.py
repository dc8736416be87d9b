"""POST /v1/completions, plain and streamed, with all four forms of the prompt."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from proxy.testing import tokenizer
from proxy.testing.errors import ApiError
from proxy.testing.generation import Generation, Sampling, integer
from proxy.testing.logprobs import Position, completion_shape, score
from proxy.testing.model import Model, usage
from proxy.testing.replies import Reply

DEFAULT_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """One continuation of one prompt."""

    prompt: list[str]
    """The prompt's tokens."""
    generation: Generation


@dataclass(frozen=True, slots=True)
class CompletionAnswer:
    """Everything both forms of the answer are made of. Choice j of prompt i has index i * n + j."""

    envelope: dict[str, Any]
    choices: list[Choice]
    prompt_tokens: int
    """Over all prompts, each counted once whatever n is."""
    logprobs: int | None
    echo: bool

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts over all prompts and choices."""
        return usage(self.prompt_tokens, sum(choice.generation.count for choice in self.choices))

    def echoed(self, choice: Choice) -> list[Position]:
        """The prompt's tokens, scored."""
        return score("", choice.prompt, self.logprobs or 0, generated=False)

    def generated(self, choice: Choice) -> list[Position]:
        """The answer's tokens, scored."""
        return score("".join(choice.prompt), choice.generation.tokens, self.logprobs or 0, generated=True)


def completions(model: Model, body: dict[str, Any]) -> Reply:
    """Answer a completion request; raises ApiError."""
    answer = _answer(model, body)
    if body.get("stream"):
        return _streamed(model, body, answer)
    choices = [_choice(answer, index, choice) for index, choice in enumerate(answer.choices)]
    tokens = max(choice.generation.count for choice in answer.choices)
    return model.plain({**answer.envelope, "choices": choices, "usage": answer.usage}, tokens)


def prompt_texts(prompt: Any, field: str = "prompt") -> list[str]:
    """The texts of a prompt in any of its four forms: string, strings, token ids, lists of token ids."""
    if prompt is None:
        raise ApiError(400, f"{field} is required", param=field)
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list) or not prompt:
        raise ApiError(400, f"{field} must be text, a list of texts, token ids or lists of token ids", param=field)
    if all(_is_id(item) for item in prompt):
        return [_decoded(prompt, field)]
    return [item if isinstance(item, str) else _decoded(item, field) for item in prompt]


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _decoded(ids: Any, field: str) -> str:
    if not isinstance(ids, list) or not all(_is_id(item) for item in ids):
        raise ApiError(400, f"{field} must not mix strings, token ids and other values", param=field)
    try:
        return tokenizer.decode(ids)
    except ValueError as error:
        raise ApiError(400, str(error), param=field) from None


def _answer(model: Model, body: dict[str, Any]) -> CompletionAnswer:
    name = model.name_for(body)
    prompts = [(text, tokenizer.split(text)) for text in prompt_texts(body.get("prompt"))]
    sampling = Sampling.of(body)
    if sampling.max_tokens is None:
        sampling = replace(sampling, max_tokens=DEFAULT_MAX_TOKENS)
    logprobs = integer(body, "logprobs", minimum=0)
    for _, tokens in prompts:
        model.limit(sampling, len(tokens))
    call = model.next_call()
    choices: list[Choice] = []
    for text, tokens in prompts:
        for _ in range(sampling.n):
            choices.append(Choice(tokens, model.generate(body, text, sampling, call, len(choices))))
    envelope = {
        "id": model.new_id("cmpl-"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": name,
        "system_fingerprint": model.options.system_fingerprint,
    }
    prompt_tokens = sum(len(tokens) for _, tokens in prompts)
    return CompletionAnswer(envelope, choices, prompt_tokens, logprobs, bool(body.get("echo")))


def _choice(answer: CompletionAnswer, index: int, choice: Choice) -> dict[str, Any]:
    logprobs = None
    if answer.logprobs is not None:
        positions = answer.generated(choice)
        if answer.echo:
            positions = answer.echoed(choice) + positions
        logprobs = completion_shape(positions, first_unscored=answer.echo and bool(choice.prompt))
    return {
        **_part(index, ("".join(choice.prompt) if answer.echo else "") + choice.generation.text, logprobs),
        "finish_reason": choice.generation.finish_reason,
        "stop_reason": choice.generation.stop_reason,
    }


def _streamed(model: Model, body: dict[str, Any], answer: CompletionAnswer) -> Reply:
    options = body.get("stream_options") or {}
    stream, sent = model.stream(), 0

    def chunk(choices: list[dict[str, Any]], token: bool = False) -> None:
        value = {**answer.envelope, "choices": choices}
        if options.get("continuous_usage_stats") and options.get("include_usage"):
            value["usage"] = usage(answer.prompt_tokens, sent)
        stream.add(value, token=token)

    if answer.echo:
        for index, choice in enumerate(answer.choices):
            chunk([_echo_part(answer, index, choice)])
    for step in zip_longest(*(_parts(answer, index, choice) for index, choice in enumerate(answer.choices))):
        paced = True  # all choices are decoded in one step, so only the first of them waits
        for part in step:
            if part is not None:
                sent += 1
                chunk([part], token=paced)
                paced = False
    for index, choice in enumerate(answer.choices):
        finish = {"finish_reason": choice.generation.finish_reason, "stop_reason": choice.generation.stop_reason}
        chunk([{**_part(index, "", None), **finish}])
    if options.get("include_usage"):
        stream.add({**answer.envelope, "choices": [], "usage": answer.usage})
    if model.options.send_done:
        stream.add_done()
    return stream.reply()


def _echo_part(answer: CompletionAnswer, index: int, choice: Choice) -> dict[str, Any]:
    logprobs = None if answer.logprobs is None else completion_shape(answer.echoed(choice), first_unscored=True)
    return _part(index, "".join(choice.prompt), logprobs)


def _parts(answer: CompletionAnswer, index: int, choice: Choice) -> Iterator[dict[str, Any]]:
    offset = len("".join(choice.prompt)) if answer.echo else 0
    positions = None if answer.logprobs is None else answer.generated(choice)
    for position, token in enumerate(choice.generation.tokens):
        logprobs = completion_shape([positions[position]], offset) if positions is not None else None
        yield _part(index, token, logprobs)
        offset += len(token)


def _part(index: int, text: str, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": None, "stop_reason": None}
