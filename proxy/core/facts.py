"""Typed facts that stations of the pipeline leave on an exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class CacheFacts(NamedTuple):
    """What the cache did: `hit`, `miss` (asked upstream), `bypass` (not cacheable), `off` or `coalesced`."""

    status: str
    key: str | None = None
    sample: int | None = None
    reason: str | None = None


class CacheOverride(NamedTuple):
    """The mode that this one request asks for with `x-evalside-cache`."""

    mode: str


@dataclass(frozen=True, slots=True)
class SampleOverride:
    """The sample that this one request asks for with `x-evalside-sample`, from 0."""

    index: int


class Damped(NamedTuple):
    """The answer repeats a failure of the model server, which was not asked this time."""

    times: int
    """How often it was repeated by now."""


class UpstreamFacts(NamedTuple):
    """How long the model server took until its headers were here, in milliseconds."""

    ms: float


@dataclass(frozen=True, slots=True)
class UsageAsked:
    """That the client asked for the usage of a stream, where the model server cannot be asked for it."""


@dataclass(frozen=True, slots=True)
class NoDone:
    """That the model server ends its streams of choices without `[DONE]`, so that none is missing."""
