"""What a native task is: samples, the request that asks one, and the score of an answer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from harness.api import EndpointType

NOTHING: Mapping[str, Any] = MappingProxyType({})
Messages = list[dict[str, str]]
Ask = Callable[[Messages], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One question. `accepted` are the right answers; `group` is the subject it counts for.

    `fields` is what else the task needs to ask and grade it (options, examples): nobody else reads it.
    """

    id: str
    query: str
    accepted: tuple[str, ...]
    group: str
    fields: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


class Grade(NamedTuple):
    """`answer` is what was read out of the generation; `score` is in [0, 1].

    `scores` are further metrics, by name. `unparsed` names the metrics (the task's `score_name` among them) for which
    no answer could be read out of the generation: they score 0, and are counted.
    """

    answer: str
    score: float
    scores: Mapping[str, float] = NOTHING
    unparsed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Where a task's data came from, for the record: `sha256` is of the file, or of the rows if they are from a hub.

    `revision` is the pinned one of a hub, or the one that a local file is known by; None for any other file.
    """

    dataset: str
    split: str
    origin: str
    revision: str | None
    sha256: str
    rows: int


class Task(Protocol):
    """A benchmark that the harness runs itself. `score_name` names its metric.

    `repeats` is how often each sample is asked; `pass_at` are the k of the metrics pass@k over them; `needs` are names
    of `harness.tasks.needs`. A class that derives from this one inherits what is not abstract.
    """

    name: str
    description: str
    score_name: str
    endpoint_types: frozenset[EndpointType]
    repeats: int = 1
    pass_at: tuple[int, ...] = ()
    needs: tuple[str, ...] = ()
    dataset: str = "of the project's own"
    license: str = "Apache-2.0"

    def samples(self) -> list[Sample]:
        """All samples, in an order that never changes, with unique ids. Raises ConfigurationError without its data."""
        ...

    def request(self, sample: Sample, kind: EndpointType) -> dict[str, Any]:
        """The OpenAI request body for a sample, without `model`; `kind` is one of `endpoint_types`."""
        ...

    def grade(self, sample: Sample, text: str) -> Grade:
        """The score of a generation. Never raises: a generation that answers nothing scores 0."""
        ...

    def data(self) -> tuple[DataFacts, ...]:
        """What the samples were made of; known once `samples()` was called."""
        return ()


@runtime_checkable
class JudgedTask(Protocol):
    """A task whose answers another model grades: it is asked with `judge`, and `grade` is not called."""

    async def judge(self, sample: Sample, text: str, ask: Ask) -> Grade:
        """The score by what `ask(messages)` says. Raises what `ask` raises (JudgeError): then there is no score."""
        ...
