"""What the model says: a text that follows from the request, cut by its limits."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxy.testing import tokenizer
from proxy.testing.errors import ApiError

Answer = str | Callable[[dict[str, Any], int, int], str]
"""A fixed text, or a function of the request body, the choice's index and the number of the call (both from 0)."""

VOCABULARY = [
    "apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbor",
    "island", "jungle", "kitchen", "ladder", "market", "needle", "orange", "pepper",
    "quartz", "river", "silver", "table", "umbrella", "valley", "window", "yellow",
    "zebra", "anchor", "basket", "copper", "dragon", "eagle", "feather", "guitar",
    "hammer", "iron", "jacket", "kettle", "lemon", "mirror", "north", "ocean",
    "paper", "queen", "ribbon", "stone", "tiger", "uncle", "violin", "water",
    "amber", "bronze", "castle", "diamond", "ember", "falcon", "granite", "hollow",
    "ivory", "jasmine", "knight", "lantern", "marble", "nectar", "onyx", "pearl",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sampling:
    """The request's parameters that decide what is generated, checked."""

    temperature: float = 1.0
    seed: int | None = None
    n: int = 1
    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: dict[str, Any], limit_fields: tuple[str, ...] = ("max_tokens",)) -> "Sampling":
        """Read them from a request body; the first of `limit_fields` that is set is the limit. Raises ApiError 400."""
        limits = [integer(body, name, minimum=0) for name in limit_fields]
        stop = body.get("stop")
        if stop is None:
            stop = []
        stops = [stop] if isinstance(stop, str) else stop
        if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
            raise ApiError(400, "stop must be a string or a list of strings", param="stop")
        temperature = body.get("temperature")
        if temperature is None:
            temperature = 1.0
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or temperature < 0:
            raise ApiError(400, f"temperature must be a number of at least 0, got {temperature!r}", param="temperature")
        return cls(
            temperature=float(temperature),
            seed=integer(body, "seed"),
            n=integer(body, "n", minimum=1) or 1,
            max_tokens=next((limit for limit in limits if limit is not None), None),
            min_tokens=integer(body, "min_tokens", minimum=0) or 0,
            ignore_eos=bool(body.get("ignore_eos")),
            stop=tuple(item for item in stops if item),
        )

    def nonce(self, call: int, choice: int) -> str:
        """What makes one answer to a prompt differ from another: nothing if greedy, the seed, or the call's number."""
        if self.temperature == 0:
            return "greedy"
        return f"call {call} choice {choice}" if self.seed is None else f"seed {self.seed} choice {choice}"


@dataclass(frozen=True, slots=True)
class Generation:
    """One choice: tokens whose joined text is the answer, and why it ended."""

    tokens: list[str]
    finish_reason: str
    stop_reason: str | None = None
    reasoning: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The answer without the reasoning."""
        return "".join(self.tokens)

    @property
    def count(self) -> int:
        """Tokens generated, reasoning included."""
        return len(self.tokens) + len(self.reasoning)


def generate(text: str, sampling: Sampling, reasoning: str = "") -> Generation:
    """Cut a full answer as the request asks: first the token limit, then the earliest stop string."""
    thoughts, tokens = tokenizer.split(reasoning), tokenizer.split(text)
    wanted = sampling.min_tokens
    if sampling.ignore_eos and sampling.max_tokens is not None:
        wanted = sampling.max_tokens
    while len(thoughts) + len(tokens) < wanted:
        tokens += tokenizer.split(f" {text or 'and'}")
    finish_reason = "stop"
    if sampling.max_tokens is not None and len(thoughts) + len(tokens) >= sampling.max_tokens:
        thoughts = thoughts[: sampling.max_tokens]
        tokens = tokens[: sampling.max_tokens - len(thoughts)]
        finish_reason = "length"
    return _cut_at_stop(Generation(tokens, finish_reason, None, thoughts), sampling.stop)


def default_answer(prompt: str, nonce: str) -> str:
    """A short sentence that is a pure function of its two arguments."""
    digest = hashlib.blake2b(f"{nonce}\0{prompt}".encode("utf-8", "surrogatepass"), digest_size=32).digest()
    count = 5 + digest[0] % 10
    words = [VOCABULARY[byte % len(VOCABULARY)] for byte in digest[1 : 1 + count]]
    return " ".join(words).capitalize() + "."


def integer(body: dict[str, Any], name: str, minimum: int | None = None) -> int | None:
    """A whole number, None if absent or null; raises ApiError 400 if it is something else or too small."""
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ApiError(400, f"{name} must be an integer, but is {value!r}", param=name)
    if value is not None and minimum is not None and value < minimum:
        raise ApiError(400, f"{name} must be at least {minimum}, got {value}", param=name)
    return value


def _cut_at_stop(generation: Generation, stops: tuple[str, ...]) -> Generation:
    text = generation.text
    found = min(((text.find(stop), stop) for stop in stops if stop in text), default=None)
    if found is None:
        return generation
    position, stop = found
    kept: list[str] = []
    for token in generation.tokens:
        if position <= 0:
            break
        kept.append(token[:position])
        position -= len(token)
    return Generation(kept, "stop", stop, generation.reasoning)
