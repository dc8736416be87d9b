"""Runs a task's samples against a server, a few at a time, and records one line for each."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from harness.api import ConfigParams, EndpointType
from harness.client import Answer, Client
from harness.errors import ConfigurationError, EndpointError, JudgeError
from harness.redact import Redactor
from harness.tasks.base import Ask, Grade, JudgedTask, Sample, Task
from harness.tasks.limit import limited

DEFAULT_PARALLELISM = 4
DEFAULT_RETRIES = 3
_CONNECT_TIMEOUT_S = 10.0
_SERVED = {"hit", "coalesced"}


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """One sample as asked, answered and graded. A sample with an `error` has no score and counts in no metric.

    `scores` has every metric, `score_name` first. `unparsed` names those for which the generation held no answer.
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

    What the server says of an error goes through `redactor`. `judge` asks the model that grades, if a task needs one.
    """

    base_url: str
    kind: EndpointType
    model_id: str | None = None
    params: ConfigParams = field(default_factory=ConfigParams)
    redactor: Redactor = field(default_factory=Redactor)
    judge: Ask | None = None


async def run_task(
    task: Task, asked: Asked, on_progress: OnProgress = lambda _: None
) -> tuple[list[SampleRecord], Tally]:
    """All records, sorted by id, and the counts. `on_progress` is called before the first sample and after each one.

    Raises EndpointError if the endpoint cannot be reached or refuses the key, the path or the model; ConfigurationError
    if the server has several models and none was chosen, or if the task needs a judge or data that are not there.
    """
    if isinstance(task, JudgedTask) and asked.judge is None:
        raise ConfigurationError(f"task {task.name!r} is graded by a judge, and this run has none")
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

    async def record(self, sample: Sample, repeat: int) -> SampleRecord:
        answer = await self.client.ask(self.body(sample))
        grade = None
        if answer.error is None:
            try:
                grade = await self.graded(sample, answer.text)
            except JudgeError as error:
                answer = replace(answer, error=self.asked.redactor.text(str(error)))
        return _record(sample, repeat, answer, grade, self.task.score_name)

    async def graded(self, sample: Sample, text: str) -> Grade:
        if isinstance(self.task, JudgedTask) and self.asked.judge is not None:
            return await self.task.judge(sample, text, self.asked.judge)
        return self.task.grade(sample, text)


async def _ask_all(run: _Run, samples: Sequence[Sample], on_progress: OnProgress) -> tuple[list[SampleRecord], Tally]:
    records: list[SampleRecord] = []
    # Round by round: the repeats of a sample are then rarely in flight together.
    asked = [(sample, repeat) for repeat in range(run.task.repeats) for sample in samples]
    tally = Tally(total=len(asked))
    started = time.perf_counter()
    on_progress(tally)

    async def work(queue: Iterator[tuple[Sample, int]]) -> None:
        for sample, repeat in queue:
            record = await run.record(sample, repeat)
            records.append(record)
            tally.add(record)
            tally.seconds = time.perf_counter() - started
            on_progress(tally)

    queue = iter(asked)
    workers = min(run.asked.params.parallelism or DEFAULT_PARALLELISM, len(asked))
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


def _record(sample: Sample, repeat: int, answer: Answer, grade: Grade | None, score_name: str) -> SampleRecord:
    return SampleRecord(
        id=sample.id,
        sub_query_id=repeat,
        query=sample.query,
        generation=answer.text if grade else answer.text or None,  # a judge's failure leaves it
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
        group=sample.group,
        scores={score_name: grade.score, **grade.scores} if grade else {},
        unparsed=list(grade.unparsed) if grade else [],
    )
