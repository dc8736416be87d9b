"""The capability profile of an endpoint: what `evalside probe` found, and what normalize and the harness read.

docs/reference/probe.md lists the capabilities and their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from proxy.core.nearest import did_you_mean

FORMAT = 1

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_LARGEST = 1024 * 1024
"""Bytes. A profile has some sixty lines; what is longer is something else."""
_LONGEST_SHOWN = 60
_WAY_OUT = "; write the profile anew with 'evalside probe'"


class Verdict(StrEnum):
    """What became of a request for a capability."""

    SUPPORTED = "supported"
    """The answer shows it."""
    IGNORED = "ignored"
    """Accepted without a word, and without effect."""
    REJECTED = "rejected"
    """Answered with an error."""
    WRONG = "wrong"
    """Accepted, with an answer that says something else than it seems to: a silent lie."""
    UNKNOWN = "unknown"
    """Could not be decided, or was not asked."""


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that an endpoint does, or does not."""

    verdict: Verdict
    evidence: str = ""
    """The part of an answer that shows it, shortened, without secrets."""
    needed_by: tuple[str, ...] = ()
    """Kinds of tasks that cannot do without on this route."""


UNASKED = Capability(Verdict.UNKNOWN, "not probed")


@dataclass(frozen=True, slots=True)
class Profile:
    """An endpoint as it was at one time."""

    server: str
    """Kind of server, as `proxy.wire.identity` names it; `unknown` where it told nothing."""
    url: str
    """Base URL, with its /v1."""
    identity: str | None
    """Name of the model server's identity, as it is in cache keys; None where it could not be known."""
    probed_at: str
    """ISO 8601, UTC."""
    model: str | None
    """That was asked; None where the endpoint lists none and none was given."""
    context_length: int | None
    """Tokens of prompt and answer together; None where it is unknown."""
    reasoning_field: str | None
    """Where a chat message has the model's reasoning, None where none was seen."""
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    """By name, `<route>.<what>`."""

    def capability(self, name: str) -> Capability:
        """Return what is known of `name`: `unknown`, where it is not in the profile."""
        return self.capabilities.get(name, UNASKED)

    def verdict(self, name: str) -> Verdict:
        """Return the verdict on `name`."""
        return self.capability(name).verdict

    def supports(self, name: str) -> bool:
        """Whether an answer showed `name`."""
        return self.verdict(name) is Verdict.SUPPORTED

    def lacks(self, name: str) -> bool:
        """Whether an answer showed that `name` is not to be had: `unknown` is no lack."""
        return self.verdict(name) not in {Verdict.SUPPORTED, Verdict.UNKNOWN}

    def missing(self, kind: str, route: str) -> dict[str, Capability]:
        """Return what a kind of task needs of a route and does not get, by name; empty where nothing speaks against."""
        return {
            name: item
            for name, item in self.capabilities.items()
            if name.startswith(f"{route}.") and kind in item.needed_by and self.lacks(name)
        }

    def found(self, verdict: Verdict) -> dict[str, Capability]:
        """Return every capability with this verdict, by name."""
        return {name: item for name, item in self.capabilities.items() if item.verdict is verdict}


def read_profile(raw: bytes) -> Profile:
    """Return the profile in the bytes of a file.

    Raises:
        ValueError: it is no profile, or not a sound one; the message names the field, its value and the way out.
    """
    if len(raw) > _LARGEST:
        raise ValueError(f"the profile has {len(raw):,} bytes, and none has more than {_LARGEST:,}{_WAY_OUT}")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the profile is not JSON ({error}){_WAY_OUT}") from None
    if not isinstance(document, dict):
        raise ValueError(f"the profile is {_shown(document)}, and it should be an object{_WAY_OUT}")
    number = document.pop("format", None)
    if type(number) is not int or number != FORMAT:
        raise ValueError(
            f"field 'format' of the profile is {_shown(number)}, and this evalside reads {FORMAT}; write it anew with"
            " this version's 'evalside probe'"
        )
    values = _fields(document, _PROFILE, "")
    capabilities = values.pop("capabilities")
    return Profile(**values, capabilities={name: _capability(name, item) for name, item in capabilities.items()})


def write_profile(profile: Profile) -> bytes:
    """Return the bytes of a profile's file, the same for equal profiles."""
    capabilities = {
        name: {"verdict": item.verdict.value, "evidence": item.evidence, "needed_by": list(item.needed_by)}
        for name, item in sorted(profile.capabilities.items())
    }
    document = {
        "format": FORMAT,
        **{name: getattr(profile, name) for name in _PROFILE},
        "capabilities": capabilities,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class _Kind:
    words: str
    fits: Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


_TEXT = _Kind("a string", lambda value: isinstance(value, str))
_TEXT_OR_NULL = _Kind("a string or null", lambda value: value is None or isinstance(value, str))
_COUNT_OR_NULL = _Kind("a number of tokens or null", _is_count)
_OBJECT = _Kind("an object", lambda value: isinstance(value, dict))
_TEXTS = _Kind(
    "a list of strings", lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value)
)
_VERDICT = _Kind(f"one of {', '.join(Verdict)}", lambda value: isinstance(value, str) and value in set(Verdict))

_PROFILE = {
    "server": _TEXT,
    "url": _TEXT,
    "identity": _TEXT_OR_NULL,
    "probed_at": _TEXT,
    "model": _TEXT_OR_NULL,
    "context_length": _COUNT_OR_NULL,
    "reasoning_field": _TEXT_OR_NULL,
    "capabilities": _OBJECT,
}
_CAPABILITY = {"verdict": _VERDICT, "evidence": _TEXT, "needed_by": _TEXTS}


def _capability(name: str, document: Any) -> Capability:
    where = f"capabilities.{name}"
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"field 'capabilities' of the profile names {_shown(name)}, and names are like 'chat.seed'{_WAY_OUT}"
        )
    if not isinstance(document, dict):
        raise ValueError(f"field '{where}' of the profile is {_shown(document)}, and it should be an object{_WAY_OUT}")
    values = _fields(document, _CAPABILITY, f"{where}.")
    return Capability(Verdict(values["verdict"]), values["evidence"], tuple(values["needed_by"]))


def _fields(document: dict[str, Any], kinds: Mapping[str, _Kind], prefix: str) -> dict[str, Any]:
    """Return the document, which has all of these fields, each of its kind, and no others."""
    for name in document:
        if name not in kinds:
            raise ValueError(
                f"unknown field {_shown(prefix + name)} in the profile{did_you_mean(name, kinds)}{_WAY_OUT}"
            )
    for name, kind in kinds.items():
        if name not in document:
            raise ValueError(f"field '{prefix}{name}' is missing in the profile{_WAY_OUT}")
        if not kind.fits(document[name]):
            raise ValueError(
                f"field '{prefix}{name}' of the profile is {_shown(document[name])}, and it should be {kind.words}"
                f"{_WAY_OUT}"
            )
    return document


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
