"""Top-level parameters of a request, turned into what one kind of model server takes. Nothing below is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proxy.core.document import encode
from proxy.core.errors import NotEditable, UnsupportedParameter
from proxy.wire.key import DENIED

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""What routes call the number of tokens to generate."""

ASKED = frozenset(
    {"model", "messages", "prompt", "input", "system", "instructions", "stream", "tools", "functions", *LIMITS}
)
"""Parameters that a request is nothing without: they are never left out, whatever is said of them."""

_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "min_p": (0,),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "stop": ([], ""),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("auto",),
    "top_logprobs": (0,),
    "top_p": (1,),
}
"""Values that ask for what happens anyway, beside null."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The range of a number, both ends in it; None has no end."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a model server takes on one route. Without any it takes everything."""

    server: str = "unknown"
    """For the reasons that are given."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Name -> what the server calls it."""
    unsupported: frozenset[str] = frozenset()
    """What it refuses, or ignores without a word."""
    accepts: frozenset[str] | None = None
    """All that it takes, where it refuses every other name."""
    clamp: Mapping[str, Bounds] = field(default_factory=dict)
    omit: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values that it refuses, and that mean the same as leaving the parameter out."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of what the request leaves out."""
    fan_out: bool = False
    """Whether it has no `n`, so that each choice has to be asked for by itself."""
    context_length: int | None = None

    def lacks(self, name: str) -> bool:
        """Return whether the server does not take a parameter. Without `n` each choice is asked for by itself."""
        if name == "n" and self.fan_out:
            return False
        return name in self.unsupported or (self.accepts is not None and name not in self.accepts)


class Normalized(NamedTuple):
    """A request as the server takes it."""

    fields: dict[str, Any]
    reasons: dict[str, str]
    """Why, for each parameter that is not as it was."""
    lacking: list[str]
    """Parameters that ask for something, and that the server does not take; they are still there."""


def normalized(document: Mapping[str, Any], rules: Rules) -> Normalized:
    """Return the request for a server with these rules.

    Raises:
        NotEditable: it names the same parameter in two ways, with different values.
    """
    state = Normalized(dict(document), {}, [])
    _rename(state, rules)
    _leave_out(state, rules)
    _clamp(state, rules)
    for name, value in rules.defaults.items():
        if name not in state.fields:
            state.fields[name] = value
            state.reasons[name] = f"default on {rules.server}"
    return state


def choices_asked(document: Mapping[str, Any]) -> int:
    """Return how many choices a request asks for."""
    n = document.get("n")
    return n if type(n) is int and n > 1 else 1


def refusal(names: list[str], server: str) -> UnsupportedParameter:
    """Return the error that names what the server lacks, and the ways out."""
    said = ", ".join(f"'{name}'" for name in names)
    return UnsupportedParameter(
        f"the model server ({server}) does not take {said}, or ignores it; leave it out of the request, or set"
        " 'on_unsupported: drop' among the options of 'normalize' to have it left out"
    )


def asks_for_nothing(name: str, value: Any) -> bool:
    """Return whether a parameter with this value can be left out and the answer is the same."""
    return value is None or name in DENIED or any(_equal(value, other) for other in _NOTHING.get(name, ()))


def _rename(state: Normalized, rules: Rules) -> None:
    fields = state.fields
    for old, new in rules.rename.items():
        if old not in fields:
            continue
        value = fields.pop(old)
        state.reasons[old] = state.reasons[new] = f"{rules.server} calls it {new}"
        if value is None:
            continue
        if fields.get(new) is not None and encode(fields[new]) != encode(value):
            raise NotEditable(
                f"'{old}' and '{new}' are the same to the model server ({rules.server}), and the request has both with"
                " different values; send one of them"
            )
        fields[new] = value


def _leave_out(state: Normalized, rules: Rules) -> None:
    for name, value in list(state.fields.items()):
        if any(_equal(value, other) for other in rules.omit.get(name, ())):
            del state.fields[name]
            state.reasons[name] = f"the same as leaving it out, and {rules.server} wants it left out"
        elif rules.lacks(name) and name not in ASKED:
            if asks_for_nothing(name, value):
                del state.fields[name]
                why = "changes nothing that is generated" if name in DENIED else "asks for nothing"
                state.reasons[name] = f"{why}, and {rules.server} does not take it"
            else:
                state.lacking.append(name)


def _clamp(state: Normalized, rules: Rules) -> None:
    bounds = dict(rules.clamp)
    if rules.context_length is not None:
        for name in LIMITS:
            bounds.setdefault(name, Bounds(high=rules.context_length))
    for name, limits in bounds.items():
        value = state.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if limits.low is not None and value < limits.low:
            state.fields[name] = limits.low
            state.reasons[name] = f"at least {limits.low} on {rules.server}"
        elif limits.high is not None and value > limits.high:
            state.fields[name] = limits.high
            state.reasons[name] = f"at most {limits.high} on {rules.server}"


def _equal(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
