"""Runs a task's samples against a server, a few at a time, and records one line for each."""

import asyncio
import hashlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from harness.asked import Asked, connected, settle
from harness.asker import SAMPLE, Answer, Asker
from harness.errors import ConfigurationError, EndpointError, JudgeError
from harness.journal import Journal
from harness.records import OnProgress, SampleRecord, Tally, place
from harness.tasks.base import Grade, JudgedTask, Sample, Task
from harness.tasks.limit import limited


async def run_task(
    task: Task, asked: Asked, on_progress: OnProgress = lambda _: None, journal: Journal | None = None
) -> tuple[list[SampleRecord], Tally]:
    """All records, sorted by id, and the counts. `on_progress` is called before the first sample and after each one.

    What `journal` has is not asked again, and what is asked is added to it. Raises EndpointError if the endpoint cannot
    be reached or refuses the key, the path or the model; ConfigurationError if the server has several models and none
    was chosen, or if the task needs a judge or data that are not there.
    """
    if isinstance(task, JudgedTask) and asked.judge is None:
        raise ConfigurationError(f"task {task.name!r} is graded by a judge, and this run has none")
    samples = limited(await asyncio.to_thread(task.samples), asked.params.limit_samples)
    asked = await settle(asked)
    async with connected(asked) as asker:
        return await _ask_all(_Run(task, asked, asker), samples, journal, on_progress)


@dataclass(frozen=True)
class _Turn:
    """A sample on its way: its place in the task, its request, and which of the identical requests this is."""

    place: int
    sample: Sample
    repeat: int
    body: dict[str, Any]
    occurrence: int


@dataclass(frozen=True)
class _Run:
    task: Task
    asked: Asked
    asker: Asker

    def turns(self, samples: Sequence[Sample]) -> Iterator[_Turn]:
        """What is asked, in order. Which of several identical requests one is depends on nothing else, so that a run
        that is interrupted and goes on asks the sidecar for the same samples of the same request.
        """
        seen: Counter[bytes] = Counter()
        # Round by round: the repeats of a sample are then rarely in flight together.
        for number, (repeat, sample) in enumerate(itertools.product(range(self.task.repeats), samples)):
            body = self.asked.model() | self.task.request(sample, self.asked.kind) | self.asked.fields()
            digest = hashlib.sha256(json.dumps(body).encode()).digest()
            yield _Turn(number, sample, repeat, body, seen[digest])
            seen[digest] += 1

    async def record(self, turn: _Turn) -> SampleRecord:
        async with self.asked.gate or nullcontext():
            answer = await self.asker.ask(turn.body, {SAMPLE: str(turn.occurrence)})
        grade = None
        if answer.error is None:
            try:
                grade = await self._grade(turn, answer.text)
            except JudgeError as error:
                answer = replace(answer, error=self.asked.redactor.text(str(error)))
        return _record(turn, answer, grade, self.task.score_name)

    async def _grade(self, turn: _Turn, text: str) -> Grade:
        if isinstance(self.task, JudgedTask) and self.asked.judge is not None:
            return await self.task.judge(turn.sample, text, self.asked.judge(turn.place))
        return self.task.grade(turn.sample, text)


async def _ask_all(
    run: _Run, samples: Sequence[Sample], journal: Journal | None, on_progress: OnProgress
) -> tuple[list[SampleRecord], Tally]:
    answered = _still_good(journal.answered if journal is not None else (), run.turns(samples))
    records = list(answered.values())
    total = len(samples) * run.task.repeats
    tally = Tally(total=total)
    for record in records:
        tally.add(record)
    tally.resumed = tally.done
    started = time.perf_counter()
    on_progress(tally)

    async def work(queue: Iterator[_Turn]) -> None:
        for turn in queue:
            record = await run.record(turn)
            if journal is not None:
                journal.add(record)
            records.append(record)
            tally.add(record)
            tally.seconds = time.perf_counter() - started
            on_progress(tally)

    queue = (turn for turn in run.turns(samples) if (turn.sample.id, turn.repeat) not in answered)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in itertools.repeat(None, min(run.asked.parallelism, total)):
                group.create_task(work(queue))
    except ExceptionGroup as errors:
        hopeless, other = errors.split(EndpointError)
        if hopeless is None or other is not None:
            raise
        raise hopeless.exceptions[0] from None
    return sorted(records, key=place), tally


def _still_good(kept: Sequence[SampleRecord], turns: Iterable[_Turn]) -> dict[tuple[str, int], SampleRecord]:
    """What was answered of these turns, the last of each. A record of another request or truth is of a task or data
    that were changed since: it is asked again, or the score would be of two benchmarks.
    """
    if not kept:
        return {}
    by_place = {place(record): record for record in kept}
    good = {}
    for turn in turns:
        record = by_place.get((turn.sample.id, turn.repeat))
        if record is None or record.ground_truth != list(turn.sample.accepted):
            continue
        if record.request_sha256 in {None, _digest(turn.body)}:
            good[place(record)] = record
    return good


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _record(turn: _Turn, answer: Answer, grade: Grade | None, score_name: str) -> SampleRecord:
    sample = turn.sample
    return SampleRecord(
        id=sample.id,
        sub_query_id=turn.repeat,
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
        request_sha256=_digest(turn.body),
    )
