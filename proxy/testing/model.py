"""The model behind the server's routes: its options, and what it answers to a prompt."""

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.testing import tokenizer
from proxy.testing.errors import ApiError
from proxy.testing.events import EventStream
from proxy.testing.generation import VOCABULARY, Answer, Generation, Sampling, default_answer, generate
from proxy.testing.replies import Reply


@dataclass(slots=True)
class ModelOptions:
    """How the model behaves. May be changed while the server runs; the next request sees it."""

    model: str = "mock-model"
    """The id in /v1/models, and in answers to requests that name no model."""
    latency: float = 0.0
    """Seconds before the first byte of a generated answer."""
    tokens_per_second: float | None = None
    """Pace of streamed tokens; a plain answer takes as long as its tokens would. None = no waiting."""
    answer: Answer | None = None
    """What the model says instead of its default answer."""
    reasoning: str = ""
    """Thoughts sent as `reasoning_content` before each chat answer; they count as generated tokens."""
    max_model_len: int = 131072
    """Tokens of prompt and answer together."""
    root: str | None = None
    """What /v1/models says the model was loaded from; None = the model's id."""
    version: str = "0.11.0"
    """What /version says."""
    embedding_dimensions: int = 16
    """Length of embeddings unless the request says otherwise."""
    strict_model: bool = False
    """Answer 404 to requests for another model, as vLLM does; otherwise any name is accepted and echoed."""
    api_key: str | None = None
    """Answer 401 to requests under /v1 without this bearer token (or x-api-key)."""
    system_fingerprint: str | None = "fp_mock"
    """The field of that name in answers."""
    send_done: bool = True
    """False leaves out `data: [DONE]`, as transformers serve does."""
    error_key: str = "error"
    """"detail" answers errors as `{"detail": "message"}`, as FastAPI applications do."""


@dataclass(slots=True)
class Model:
    """Options plus the little state a model server has."""

    options: ModelOptions
    calls: int = 0
    """Generation requests answered so far; goes on over restarts of the server."""
    started_at: float = field(default_factory=time.time)
    """Unix time at which the server was last started."""
    _ids: Iterator[int] = field(default_factory=itertools.count)
    _id_prefix: str = field(default_factory=lambda: os.urandom(8).hex())

    def new_id(self, prefix: str) -> str:
        """An id unlike any other, also after a restart."""
        return f"{prefix}{self._id_prefix}{next(self._ids):016x}"

    def next_call(self) -> int:
        """The number of this generation request, from 0."""
        self.calls += 1
        return self.calls - 1

    def name_for(self, body: dict[str, Any]) -> str:
        """The model's name in an answer; raises ApiError 404 where the request names another and that matters."""
        asked = body.get("model")
        if not isinstance(asked, str) or not asked:
            return self.options.model
        if self.options.strict_model and asked != self.options.model:
            raise ApiError(404, f"The model `{asked}` does not exist.", param="model")
        return asked

    def generate(self, body: dict[str, Any], prompt: str, sampling: Sampling, call: int, choice: int) -> Generation:
        """The model's words for one choice."""
        return generate(self.say(body, prompt, sampling, call, choice), sampling)

    def say(self, body: dict[str, Any], prompt: str, sampling: Sampling, call: int, choice: int) -> str:
        """The full answer before limits: the scripted one, else a function of prompt and nonce."""
        answer = self.options.answer
        if answer is None:
            return default_answer(prompt, sampling.nonce(call, choice))
        return answer if isinstance(answer, str) else answer(body, choice, call)

    def words(self, prompt: str, sampling: Sampling, call: int, choice: int) -> Iterator[str]:
        """Endless words for structured answers, with the same dependence on the request as the default answer."""
        said = default_answer(prompt, sampling.nonce(call, choice)).rstrip(".").lower().split()
        return itertools.cycle(said or VOCABULARY)

    def limit(self, sampling: Sampling, prompt_tokens: int) -> None:
        """Raise ApiError 400 if the prompt and the answer asked for do not fit the context."""
        wanted = sampling.max_tokens or 0
        if prompt_tokens + wanted > self.options.max_model_len or prompt_tokens == self.options.max_model_len:
            raise ApiError(
                400,
                f"This model's maximum context length is {self.options.max_model_len} tokens. However, you requested "
                f"{prompt_tokens + wanted} tokens ({prompt_tokens} in the messages, {wanted} in the completion). "
                "Please reduce the length of the messages or completion.",
            )

    def stream(self) -> EventStream:
        """An empty event stream at the model's pace."""
        return EventStream(self.options.latency, self._seconds_per_token())

    def plain(self, value: Any, tokens: int) -> Reply:
        """A JSON answer that took as long as its tokens (the longest choice's) take."""
        return Reply(json=value, delay=self.options.latency + tokens * self._seconds_per_token())

    def _seconds_per_token(self) -> float:
        return 1 / self.options.tokens_per_second if self.options.tokens_per_second else 0.0


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """The usage object of chat and completions."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": None,
    }


def count_tokens(text: str) -> int:
    """How many tokens a text has."""
    return len(tokenizer.split(text))
