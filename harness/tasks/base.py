"""What a native task is: samples, the request that asks one, and the score of an answer."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from harness.api import EndpointType


@dataclass(frozen=True, slots=True)
class Sample:
    """One question. `accepted` are the right answers; `group` is the subject it counts for."""

    id: str
    query: str
    accepted: tuple[str, ...]
    group: str


class Grade(NamedTuple):
    """`answer` is what was read out of the generation; `score` is in [0, 1]."""

    answer: str
    score: float


class Task(Protocol):
    """A benchmark that the harness runs itself. `score_name` names its metric."""

    name: str
    description: str
    score_name: str
    endpoint_types: frozenset[EndpointType]

    def samples(self) -> list[Sample]:
        """All samples, in an order that never changes, with unique ids."""
        ...

    def request(self, sample: Sample, kind: EndpointType) -> dict[str, Any]:
        """The OpenAI request body for a sample, without `model`; `kind` is one of `endpoint_types`."""
        ...

    def grade(self, sample: Sample, text: str) -> Grade:
        """The score of a generation. Never raises: a generation that answers nothing scores 0."""
        ...
