"""Runs a task's samples against a server, a few at a time, and records one line for each."""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from harness.api import ConfigParams, EndpointType
from harness.client import Answer, Client
from harness.errors import ConfigurationError, EndpointError
from harness.redact import Redactor
from harness.tasks.base import Grade, Sample, Task

DEFAULT_PARALLELISM = 4
DEFAULT_RETRIES = 3
_CONNECT_TIMEOUT_S = 10.0
_SERVED = {"hit", "coalesced"}


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One sample as asked, answered and graded. A sample with an `error` has no score and counts in no metric."""

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


@dataclass(slots=True)
class Tally:
    """What has been done so far. `upstream_calls` counts requests that no cache answered, repetitions included."""

    total: int
    done: int = 0
    hits: int = 0
    errors: int = 0
    upstream_calls: int = 0
    seconds: float = 0.0

    def add(self, record: SampleRecord) -> None:
        """Counts one finished sample."""
        served = record.cache in _SERVED
        self.done += 1
        self.hits += served
        self.errors += record.error is not None
        self.upstream_calls += record.attempts - served


OnProgress = Callable[[Tally], None]


@dataclass(frozen=True)
class Asked:
    """Whom to ask and how: `base_url` is an origin, `model_id` None asks the server for its only model.

    What the server says of an error goes through `redactor`.
    """

    base_url: str
    kind: EndpointType
    model_id: str | None = None
    params: ConfigParams = field(default_factory=ConfigParams)
    redactor: Redactor = field(default_factory=Redactor)


async def run_task(
    task: Task, asked: Asked, on_progress: OnProgress = lambda _: None
) -> tuple[list[SampleRecord], Tally]:
    """All records, sorted by id, and the counts. `on_progress` is called before the first sample and after each one.

    Raises EndpointError if the endpoint cannot be reached or refuses the key, the path or the model; ConfigurationError
    if the server has several models and none was chosen.
    """
    samples = limited(task.samples(), asked.params.limit_samples)
    params = asked.params
    # trust_env: a proxy variable of the shell must not come between the harness and its sidecar.
    async with httpx.AsyncClient(
        base_url=asked.base_url,
        timeout=httpx.Timeout(params.request_timeout, connect=_CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    ) as http:
        retries = DEFAULT_RETRIES if params.max_retries is None else params.max_retries
        client = Client(http, asked.kind, asked.redactor, max_retries=retries)
        model = await _model(client, asked.model_id)
        return await _ask_all(_Run(task, asked, model, client), samples, on_progress)


def limited(samples: list[Sample], limit: float | None) -> list[Sample]:
    """The first `limit` samples; a float is a share of them, rounded up; None is all."""
    if limit is None:
        return samples
    return samples[: limit if isinstance(limit, int) else math.ceil(limit * len(samples))]


@dataclass(frozen=True)
class _Run:
    task: Task
    asked: Asked
    model: str | None
    client: Client

    def body(self, sample: Sample) -> dict[str, Any]:
        params = self.asked.params
        chosen = {"max_tokens": params.max_new_tokens, "temperature": params.temperature, "top_p": params.top_p}
        body = self.task.request(sample, self.asked.kind)
        body |= {name: value for name, value in chosen.items() if value is not None}
        return body if self.model is None else {"model": self.model, **body}

    async def record(self, sample: Sample) -> SampleRecord:
        answer = await self.client.ask(self.body(sample))
        grade = self.task.grade(sample, answer.text) if answer.error is None else None
        return _record(sample, answer, grade, self.task.score_name)


async def _ask_all(run: _Run, samples: Sequence[Sample], on_progress: OnProgress) -> tuple[list[SampleRecord], Tally]:
    records: list[SampleRecord] = []
    tally = Tally(total=len(samples))
    started = time.perf_counter()
    on_progress(tally)

    async def work(queue: Iterator[Sample]) -> None:
        for sample in queue:
            record = await run.record(sample)
            records.append(record)
            tally.add(record)
            tally.seconds = time.perf_counter() - started
            on_progress(tally)

    queue = iter(samples)
    workers = min(run.asked.params.parallelism or DEFAULT_PARALLELISM, len(samples))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in itertools.repeat(None, workers):
                group.create_task(work(queue))
    except ExceptionGroup as errors:
        hopeless, other = errors.split(EndpointError)
        if hopeless is None or other is not None:
            raise
        raise hopeless.exceptions[0] from None
    return sorted(records, key=lambda record: (record.id, record.sub_query_id)), tally


async def _model(client: Client, wanted: str | None) -> str | None:
    # Asked even if the model is known: it finds an unreachable endpoint or a wrong key before the first sample.
    listed = await client.models()
    if wanted is not None:
        return wanted
    if len(listed) > 1:
        raise ConfigurationError(
            f"the endpoint has {len(listed)} models; choose one with model_id (--model-id): {', '.join(listed[:20])}"
        )
    return listed[0] if listed else None


def _record(sample: Sample, answer: Answer, grade: Grade | None, score_name: str) -> SampleRecord:
    return SampleRecord(
        id=sample.id,
        sub_query_id=0,
        query=sample.query,
        generation=answer.text if grade else None,
        ground_truth=list(sample.accepted),
        answer=grade.answer if grade else None,
        score=grade.score if grade else None,
        score_name=score_name,
        num_prompt_tokens=answer.prompt_tokens,
        num_generated_tokens=answer.generated_tokens,
        finish_reason=answer.finish_reason,
        cache=answer.cache,
        exchange_id=answer.exchange_id,
        latency_ms=answer.latency_ms,
        attempts=answer.attempts,
        error=answer.error,
    )
