"""A task that another harness runs, as a run sees it."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx

from harness.api import EndpointType, EvaluationConfig, EvaluationResult, EvaluationTarget
from harness.asked import Asked
from harness.errors import ConfigurationError
from harness.external.base import Ask, Driver, check_options
from harness.external.drivers import find_driver
from harness.external.environment import HUB_LOGIN, find_environment, to_install
from harness.external.run import INSTALL_LOG, run_driver
from harness.records import OnProgress, SampleRecord, Tally
from harness.tasks.catalog import NATIVE, Entry

FOLDER = "harness"
"""Below the task's output folder: the harness's own files."""
_LOOK_EVERY_S = 1.0
_SERVED = ("hit", "coalesced")
_NOWHERE = "http://sidecar.invalid"
"""Stands for the sidecar's URL while a configuration is checked. RFC 2606 keeps `.invalid` free."""


class Answered(NamedTuple):
    """What came of a task: scores, a record for each sample that is told of, counts, and which harness ran it.

    `harness` has its name, and what of package, version and image is known; None for a native task.
    """

    result: EvaluationResult
    records: list[SampleRecord]
    tally: Tally
    harness: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ForeignTask:
    """One entry of the catalogue, and the driver of its harness."""

    entry: Entry
    driver: Driver

    @classmethod
    def of(cls, entry: Entry) -> "ForeignTask | None":
        """The task of an entry; None for a native one. Raises ConfigurationError if no driver runs its harness."""
        return None if entry.harness == NATIVE else cls(entry, find_driver(entry.harness))

    @property
    def name(self) -> str:
        """The name that is nobody else's."""
        return self.entry.qualified

    @property
    def endpoint_types(self) -> tuple[EndpointType, ...]:
        """What it can be asked of."""
        return self.entry.endpoint_types

    def check(self, config: EvaluationConfig, target: EvaluationTarget) -> None:
        """Raises ConfigurationError for options and parameters that the harness does not take."""
        if config.judge is not None:
            raise ConfigurationError(
                f"task {self.name!r} is another harness's, which takes no judge from here; see its options"
            )
        check_options(self.driver, config.params.extra)
        model = target.api_endpoint.model_id or "model"
        endpoint = Asked(_NOWHERE, target.api_endpoint.speaks(), model, config.params)
        self.driver.calls(self._ask(endpoint, model, Path(FOLDER)))

    def to_install(self, config: EvaluationConfig) -> tuple[str, ...]:
        """The requirements of the harness that are installed before it runs; none if they are there."""
        return to_install(self.driver, config.params.extra)

    async def run(
        self,
        asked: Asked,
        folder: Path,
        on_progress: OnProgress,
        say: Callable[[str], None],
        held: Sequence[int] = (),
    ) -> Answered:
        """Runs the harness against the sidecar's run that `asked` names; its lines go to `say`.

        Progress is counted in requests: how many there will be, only the harness knows. The harness holds the
        descriptors `held`, as all that belongs to a run does.
        """
        if asked.model_id is None:
            raise ConfigurationError(
                f"{self.driver.name} has to name a model; give target.api_endpoint.model_id (--model-id)"
            )
        own = (folder / FOLDER).resolve()
        own.mkdir(parents=True, exist_ok=True)
        ask = self._ask(asked, asked.model_id, own)
        started = time.perf_counter()
        async with _watched(asked.base_url, started, on_progress) as look:
            redactor = asked.redactor.also(os.environ.get(HUB_LOGIN, ""))
            outcome = await run_driver(self.driver, ask, folder, redactor=redactor, on_line=say, held=held)
            tally = await look()
        records = [SampleRecord(**row) for row in outcome.rows]
        total = len(records) or tally.done
        errors = sum(record.error is not None for record in records)
        tally = Tally(total, total, tally.hits, errors, tally.upstream_calls, time.perf_counter() - started)
        on_progress(tally)
        environment = await asyncio.to_thread(find_environment, self.driver, ask, folder / INSTALL_LOG)
        facts = await asyncio.to_thread(environment.facts, self.driver)
        return Answered(outcome.result, records, tally, {"name": self.driver.name, **facts})

    def _ask(self, asked: Asked, model: str, folder: Path) -> Ask:
        return Ask(self.entry.task, f"{asked.base_url}/v1", model, asked.kind, folder, asked.params, asked.params.extra)


@contextlib.asynccontextmanager
async def _watched(
    run_url: str, started: float, on_progress: OnProgress
) -> AsyncIterator[Callable[[], Awaitable[Tally]]]:
    """Tells `on_progress` of the run's requests while the block is open; gives a function that counts them now."""
    async with httpx.AsyncClient(trust_env=False) as http:

        async def look() -> Tally:
            try:
                summary = (await http.get(run_url)).json()
            except (httpx.HTTPError, ValueError):
                summary = {}
            done = int(summary.get("exchanges") or 0)
            cache = summary.get("cache") or {}
            hits = sum(int(cache.get(name) or 0) for name in _SERVED)
            return Tally(0, done, hits, 0, done - hits, time.perf_counter() - started)

        async def watch() -> None:
            while True:
                await asyncio.sleep(_LOOK_EVERY_S)
                on_progress(await look())

        task = asyncio.create_task(watch())
        try:
            yield look
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
