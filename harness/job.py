"""One task of a run: checked, run through a sidecar, written to files."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from harness.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationResult, EvaluationTarget
from harness.asked import Asked, settle
from harness.errors import ConfigurationError, EndpointError, EvaluationError, RunError
from harness.external.task import Answered, ForeignTask
from harness.gate import Gate
from harness.journal import Journal
from harness.judge import judging
from harness.processes import Processes
from harness.profiles import refuse_lacking, require
from harness.proxy_process import require_key
from harness.records import OnProgress, SampleRecord, Tally
from harness.redact import Redactor
from harness.reporting.findings import Finding
from harness.reporting.sidecar import latest_pass, sidecar_facts
from harness.reporting.writing import Material, write_reports, write_run_config
from harness.results import Report, evaluation_result, write_results, write_samples
from harness.runner import run_task
from harness.sidecars import Sidecars
from harness.tasks import find_task
from harness.tasks.base import JudgedTask, Task
from harness.tasks.catalog import resolve

_ADMIN_TIMEOUT_S = 60.0
JUDGE_RUN = ".judge"
"""Ends the name of the sidecar run that a task's judge is asked in."""


@dataclass(frozen=True)
class Job:
    """What to run, against what, in the sidecar run `place`; its output folder exists.

    `opening` is what the sidecar is told before the first sample: a new pass, or the run that is replayed. If it
    `replays`, every answer is a recorded one, and there need not be a model server.
    """

    name: str
    place: str
    config: EvaluationConfig
    target: EvaluationTarget
    folder: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)
    opening: Mapping[str, Any] | None = None
    replays: bool = False


@dataclass(frozen=True)
class Finished:
    """A task that ended: its results, its records, what it took, its files, the model that was asked, and findings."""

    result: EvaluationResult
    records: list[SampleRecord]
    tally: Tally
    results_file: Path
    samples_file: Path
    model_id: str | None = None
    findings: list[Finding] = field(default_factory=list)


def check(config: EvaluationConfig, target: EvaluationTarget) -> Task | ForeignTask:
    """The task that a configuration names. Raises ConfigurationError for what cannot work; nothing is ignored."""
    task = configured(config)
    kind = target.api_endpoint.speaks()
    if kind not in task.endpoint_types:
        kinds = " or ".join(sorted(task.endpoint_types))
        raise ConfigurationError(f"task {task.name!r} needs an endpoint of type {kinds}, not {kind.value!r}")
    if config.supported_endpoint_types is not None and kind not in config.supported_endpoint_types:
        kinds = " or ".join(sorted(config.supported_endpoint_types))
        raise ConfigurationError(f"supported_endpoint_types allows {kinds}, but the endpoint is of type {kind.value!r}")
    require(config.required_capabilities or (), target.api_endpoint)
    if target.api_endpoint.stream:
        raise ConfigurationError(f"stream: true, but task {task.name!r} asks for plain answers; leave stream out")
    if config.params.task not in {None, task.name}:
        raise ConfigurationError(f"params.task is {config.params.task!r}, but the task is {task.name!r}; leave it out")
    refuse_lacking(resolve(config.type).entry, target.api_endpoint)
    for endpoint in (target.api_endpoint, *_judges(task, config)):
        _check_mode(endpoint)
        require_key(endpoint)
    if isinstance(task, ForeignTask):
        task.check(config, target)
    else:
        task.samples()  # data that cannot be had are told before anything starts
    return task


def _judges(task: Task | ForeignTask, config: EvaluationConfig) -> list[ApiEndpoint]:
    if not isinstance(task, JudgedTask):
        return []
    if config.judge is None:
        raise ConfigurationError(
            f"task {task.name!r} is graded by a judge, and there is none; give judge.api_endpoint its url and model_id"
        )
    return [config.judge.api_endpoint]


def configured(config: EvaluationConfig) -> Task | ForeignTask:
    """The task with its options. Raises ConfigurationError for an option in `params.extra` that it has not."""
    entry = resolve(config.type).entry
    foreign = ForeignTask.of(entry)
    if foreign is not None:
        return foreign
    return find_task(entry.task, {name: value for name, value in config.params.extra.items() if name != "body"})


async def run_job(
    job: Job,
    sidecars: Sidecars,
    gate: Gate | None = None,
    on_progress: OnProgress = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Finished:
    """Runs a job through its sidecar and writes its files. `on_progress` is called after every sample.

    What another harness prints goes to `say`, line by line.
    """
    task = configured(job.config)
    redactor = Redactor.of(job.config, job.target)
    endpoint = job.target.api_endpoint
    with Processes(job.folder, job.place) as processes:
        write_run_config(job.folder, job.config, job.target, redactor)

        def watched(tally: Tally) -> None:
            processes.progress(tally)
            on_progress(tally)

        try:
            async with processes.beating():
                origin = await asyncio.to_thread(sidecars.url, endpoint, job.target.proxy)
                asked = replace(await _asked(job, origin, endpoint, job.config.params), gate=gate)
                number = await latest_pass(origin, job.place)
                if isinstance(task, ForeignTask):
                    async with _places(asked, say) as within:
                        processes.begin(number)
                        answered = await task.run(within, job.folder, watched, say, sidecars.held)
                else:
                    processes.begin(number)
                    answered = await _ask(job, task, asked, sidecars, watched)
        except EndpointError:
            sidecars.check()  # or an endpoint would be blamed for a sidecar that is gone
            raise
        finished = replace(_written(job, task, answered), model_id=asked.model_id)
        facts = await sidecar_facts(origin, job.place, since=processes.all[0].number)
        processes.beat()
        made_of = Material(
            task=task.name,
            run=job.place,
            results=_report(job, answered).document(),
            records=answered.records,
            sidecar=facts,
            processes=processes.all,
            redactor=redactor,
            model=asked.model_id,
            data=() if isinstance(task, ForeignTask) else task.data(),
            harness=answered.harness,
        )
        return replace(finished, findings=await asyncio.to_thread(write_reports, job.folder, made_of))


def forget(job: Job) -> None:
    """Deletes what only a run that goes on needs."""
    Journal(job.folder, job.place, Redactor()).remove()
    Processes(job.folder, job.place).remove()


@asynccontextmanager
async def _places(asked: Asked, say: Callable[[str], None]) -> AsyncIterator[Asked]:
    """Another harness's share of the requests in flight, all of it until it ends: it does not ask before each one."""
    if asked.gate is None:
        yield asked
        return
    async with asked.gate.several(asked.parallelism) as granted:
        if granted < asked.parallelism:
            say(f"parallelism is {granted}, not {asked.parallelism}: execution.parallelism allows no more in all")
        yield replace(asked, params=asked.params.model_copy(update={"parallelism": granted}))


async def _ask(job: Job, task: Task, asked: Asked, sidecars: Sidecars, on_progress: OnProgress) -> Answered:
    """Asks a native task's samples."""
    judge = job.config.judge
    async with AsyncExitStack() as stack:
        if judge is not None and isinstance(task, JudgedTask):
            origin = await asyncio.to_thread(sidecars.url, judge.api_endpoint, beside(job.target))
            judged_by = await _asked(job, origin, judge.api_endpoint, judge.params, JUDGE_RUN)
            asked = replace(asked, judge=await stack.enter_async_context(judging(judged_by)))
        journal = stack.enter_context(Journal(job.folder, job.place, Redactor.of(job.config, job.target)))
        records, tally = await run_task(task, asked, on_progress, journal)
    return Answered(evaluation_result(task, records), records, tally)


def _written(job: Job, task: Task | ForeignTask, answered: Answered) -> Finished:
    result, records, tally, _ = answered
    samples_file = write_samples(job.folder, records, Redactor.of(job.config, job.target))
    if tally.errors == tally.total and not (isinstance(task, ForeignTask) and not records):
        first = records[0].error if records else "the task has no samples"
        raise EvaluationError(
            f"none of the {tally.total} samples got an answer; the first error was: {first}\n"
            f"All of them are in {samples_file}"
        )
    results_file = write_results(job.folder, _report(job, answered))
    return Finished(result, records, tally, results_file, samples_file)


def _report(job: Job, answered: Answered) -> Report:
    return Report(job.config, job.target, answered.result, job.metadata)


def beside(target: EvaluationTarget) -> dict[str, Any] | None:
    """The settings of a judge's sidecar: the store of the target's own, so that a run is in one place."""
    return {"store": target.proxy["store"]} if target.proxy and "store" in target.proxy else None


async def _asked(job: Job, origin: str, endpoint: ApiEndpoint, params: ConfigParams, suffix: str = "") -> Asked:
    """The way to ask a model in the job's run of its sidecar."""
    place = job.place + suffix
    if job.opening is not None:
        opening = dict(job.opening)
        if "from" in opening:
            opening["from"] += suffix
        await _open(f"{origin}/-/runs/{place}", opening)
    redactor = Redactor.of(endpoint)
    where = f"{origin}/-/runs/{place}"
    asked = Asked(where, endpoint.speaks(), endpoint.model_id, params, redactor, settled=job.replays, url=endpoint.url)
    return await settle(asked)


async def _open(url: str, opening: Mapping[str, Any]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=_ADMIN_TIMEOUT_S) as http:
        response = await http.post(url, json=opening)
        if response.status_code == 409 and "mode" in opening:  # the run was made before its process was killed
            response = await http.post(url, json={"mode": opening["mode"]})
    if response.status_code == 200:
        return
    message = response.json().get("error", {}).get("message", response.text)
    raise RunError(f"the sidecar cannot begin this run: {message}")


def _check_mode(endpoint: ApiEndpoint) -> None:
    adapter = endpoint.adapter_config
    if adapter is not None and adapter.mode == "client":
        raise ConfigurationError(
            "adapter_config.mode is 'client', which harness.client is for; a task needs 'server', the default"
        )
