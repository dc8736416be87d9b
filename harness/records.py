"""What a run keeps of each sample, and its counts."""

from collections.abc import Callable
from dataclasses import dataclass, field

_SERVED = {"hit", "coalesced"}


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One sample as asked, answered and graded. A sample with an `error` has no score and counts in no metric.

    `scores` has every metric, `score_name` first. `unparsed` names those for which the generation held no answer.
    `request_sha256` is of the request body as JSON with sorted keys, None where another harness asked.
    """

    id: str
    sub_query_id: int
    query: str
    generation: str | None
    ground_truth: list[str]
    answer: str | None
    score: float | None
    score_name: str
    num_prompt_tokens: int | None
    num_generated_tokens: int | None
    finish_reason: str | None
    cache: str | None
    exchange_id: str | None
    latency_ms: float
    attempts: int
    error: str | None
    group: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    unparsed: list[str] = field(default_factory=list)
    request_sha256: str | None = None


@dataclass(slots=True)
class Tally:
    """What has been done so far. `upstream_calls` counts requests that no cache answered, repetitions included.

    `resumed` of the `done` samples were answered by an earlier process of the run, and count like the others; `seconds`
    are this process's own.
    """

    total: int
    done: int = 0
    hits: int = 0
    errors: int = 0
    upstream_calls: int = 0
    seconds: float = 0.0
    resumed: int = 0

    def add(self, record: SampleRecord) -> None:
        """Counts one finished sample."""
        served = record.cache in _SERVED
        self.done += 1
        self.hits += served
        self.errors += record.error is not None
        self.upstream_calls += record.attempts - served

    @property
    def rate(self) -> float:
        """Samples a second of this process; 0 before the first."""
        return (self.done - self.resumed) / self.seconds if self.seconds else 0.0


def place(record: SampleRecord) -> tuple[str, int]:
    """What tells a record from all others of its task, and its place among them."""
    return record.id, record.sub_query_id


OnProgress = Callable[[Tally], None]
