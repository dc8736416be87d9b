"""What a probed capability profile says of the parameters that a model server takes: it outranks the dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from proxy.wire.parameters import ASKED, Rules
from proxy.wire.profile import Profile, Verdict, read_profile

_PARAMETERS = {
    "echo_logprobs": "echo",
    "json_object": "response_format",
    "json_schema": "response_format",
    **{
        name: name
        for name in (
            "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "min_p", "n", "presence_penalty",
            "repetition_penalty", "seed", "stop", "temperature", "tool_choice", "top_k", "top_logprobs", "top_p",
        )
    },
}  # fmt: skip
"""Capability (docs/reference/probe.md) -> the parameter that asks for it. Others are no parameters."""
_LIMITS = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}
"""A limit that is refused, and what it is called instead."""


class ProfileError(ValueError):
    """A capability profile that cannot be used. The message names the file and the way out."""


def load_profile(path: Path) -> Profile:
    """Return the profile in a file.

    Raises:
        ProfileError: it cannot be read, or is none.
    """
    try:
        return read_profile(path.expanduser().read_bytes())
    except OSError as error:
        said = f"it cannot be read ({error.strerror}); name another file, or write one with 'evalside probe'"
    except ValueError as error:
        said = str(error)
    raise ProfileError(f"capability profile {path}: {said}")


def outranked(rules: Rules, route: str, verdicts: Mapping[str, str]) -> Rules:
    """Return the rules with what was probed (`chat.seed` -> verdict) in place of what the dialect says.

    What is supported is taken, what is only rejected is not; a limit that is rejected has its other name. `n` that is
    ignored or rejected is asked for choice by choice. What else is ignored is left to the dialect.
    """
    found = {name.partition(".")[2]: verdict for name, verdict in verdicts.items() if name.startswith(f"{route}.")}
    taken = {_PARAMETERS.get(what, what) for what, verdict in found.items() if verdict == Verdict.SUPPORTED}
    taken &= {*_PARAMETERS.values(), *_LIMITS}
    refused = {_PARAMETERS.get(what, what) for what, verdict in found.items() if verdict == Verdict.REJECTED}
    refused = (refused & set(_PARAMETERS.values())) - ASKED - taken - {"n"}
    limits = {
        name: other
        for name, other in _LIMITS.items()
        if found.get(name) == Verdict.REJECTED and found.get(other) != Verdict.REJECTED
    }
    rename = {old: limits.get(new, new) for old, new in rules.rename.items() if old not in taken}
    rename = {old: new for old, new in (rename | limits).items() if old != new and new not in limits}
    n = found.get("n", Verdict.UNKNOWN)
    return replace(
        rules,
        unsupported=(rules.unsupported - taken) | refused,
        accepts=None if rules.accepts is None else (rules.accepts | taken) - refused,
        rename=rename,
        fan_out=rules.fan_out if n == Verdict.UNKNOWN else n in {Verdict.IGNORED, Verdict.REJECTED},
    )
